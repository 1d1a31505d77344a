//! STUN and TURN servers that an operator gives.

use clap::Args;
use kollator_core::wire::signal::{IceServer, MAX_SERVERS, MAX_URL};
use kollator_core::wire::signal_codec::is_http_url;

/// Which STUN and TURN servers there are.
#[derive(Clone, Debug, Args)]
pub struct IceSettings {
    /// STUN servers, such as stun:stun.example.org:3478; comma-separated
    #[arg(long, env = "STUN_SERVERS", value_delimiter = ',', value_parser = stun_server)]
    stun_servers: Vec<IceServer>,

    /// TURN servers, each turn:USER:PASSWORD@HOST:PORT (or turns:); comma-separated
    #[arg(long, env = "TURN_SERVERS", hide_env_values = true, value_delimiter = ',', value_parser = turn_server)]
    turn_servers: Vec<IceServer>,
}

impl IceSettings {
    /// All of them, STUN first.
    ///
    /// # Errors
    /// If they are more than a client can be told.
    pub fn servers(&self) -> Result<Vec<IceServer>, String> {
        let all = [&self.stun_servers[..], &self.turn_servers].concat();
        if all.len() > MAX_SERVERS {
            return Err(format!("--stun-servers and --turn-servers: at most {MAX_SERVERS} together"));
        }
        Ok(all)
    }
}

fn stun_server(url: &str) -> Result<IceServer, String> {
    let address = url.strip_prefix("stun:").or_else(|| url.strip_prefix("stuns:"));
    if url.len() <= MAX_URL && address.is_some_and(is_address) {
        Ok(IceServer { urls: vec![url.to_owned()], username: None, credential: None })
    } else {
        Err("must be stun:HOST[:PORT] or stuns:HOST[:PORT]".into())
    }
}

fn turn_server(url: &str) -> Result<IceServer, String> {
    let parse = || {
        let (scheme, rest) = url.split_once(':')?;
        let (login, address) = rest.rsplit_once('@')?;
        let (user, password) = login.split_once(':')?;
        let visible = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
        let fits = matches!(scheme, "turn" | "turns")
            && visible(user)
            && visible(password)
            && is_address(address)
            && url.len() <= MAX_URL;
        fits.then(|| IceServer {
            urls: vec![format!("{scheme}:{address}")],
            username: Some(user.to_owned()),
            credential: Some(password.to_owned()),
        })
    };
    parse().ok_or_else(|| "must be turn:USER:PASSWORD@HOST[:PORT] or the same with turns".into())
}

/// Whether `address` is `HOST[:PORT]`, perhaps with the `?transport=` that TURN URLs may have (RFC 7065).
fn is_address(address: &str) -> bool {
    let (address, query) = address.split_once('?').unwrap_or((address, "transport=udp"));
    matches!(query, "transport=udp" | "transport=tcp")
        && !address.contains('/')
        && is_http_url(&format!("http://{address}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Settings {
        #[command(flatten)]
        ice: IceSettings,
    }

    fn parse(args: &[&str]) -> Result<Result<Vec<IceServer>, String>, String> {
        let settings = Settings::try_parse_from(["server"].iter().chain(args)).map_err(|e| e.to_string())?;
        Ok(settings.ice.servers())
    }

    #[test]
    fn servers_are_told_as_browsers_take_them() {
        let servers = parse(&[
            "--stun-servers",
            "stun:a.example:3478,stun:[2001:db8::1]:3478",
            "--turn-servers",
            "turn:me:p:w@d@b.example:3478,turns:u:p@c.example?transport=tcp",
        ]);
        let servers = servers.expect("valid").expect("few");
        let urls: Vec<_> = servers.iter().map(|server| server.urls[0].as_str()).collect();
        let expected = [
            "stun:a.example:3478",
            "stun:[2001:db8::1]:3478",
            "turn:b.example:3478",
            "turns:c.example?transport=tcp",
        ];
        assert_eq!(urls, expected);
        assert_eq!(servers[2].username.as_deref(), Some("me"));
        assert_eq!(servers[2].credential.as_deref(), Some("p:w@d"));
    }

    #[test]
    fn what_is_no_server_is_named() {
        for (flag, value) in [
            ("--stun-servers", "turn:a"),
            ("--stun-servers", "stun:"),
            ("--turn-servers", "turn:a.example:3478"),
            ("--turn-servers", "turn:u@a.example"),
            ("--turn-servers", "turn::p@a.example"),
        ] {
            let fault = parse(&[flag, value]).expect_err("refused");
            assert!(fault.contains(flag) && fault.contains(value), "{fault}");
        }
        let many = vec!["stun:a.example"; MAX_SERVERS + 1].join(",");
        assert!(
            parse(&["--stun-servers", &many]).expect("each is valid").expect_err("too many").contains("at most")
        );
    }
}
