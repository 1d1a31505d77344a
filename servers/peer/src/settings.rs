//! What the user can set, by flag and environment variable.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use kollator_core::id::BadName;
use kollator_core::metainfo::{DEFAULT_PIECE_LENGTH, MAX_PIECE_LENGTH, MIN_PIECE_LENGTH};
use kollator_core::node::peer::{HttpUse, WorkerUrl};
use kollator_core::seal::PublicKey;
use kollator_runtime::link::FrontUrl;
use kollator_runtime::net::origin::Origin;
use kollator_servers::LogFormat;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::dht::DhtArgs;
use crate::identity::IdentityArgs;

/// The front that is asked if none is named.
const USUAL_FRONT: &str = "http://localhost:8080";

/// Share files with anyone who has the link; get them from whoever is nearest.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (SIGINT), 143 terminated (SIGTERM).
#[derive(Debug, Parser)]
#[command(name = "kollator", version)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) network: Network,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What concerns every command that uses the network.
#[derive(Debug, Args)]
pub(crate) struct Network {
    /// Base URL of a front; repeated, or separated by commas, for several [default: http://localhost:8080; none for a
    /// download with --from or --dht].
    #[arg(long = "front", env = "KOLLATOR_FRONT", value_name = "URL", value_delimiter = ',', global = true,
          value_parser = FrontUrl::parse)]
    fronts: Vec<FrontUrl>,
    /// Seconds without any progress after which a command fails: no front, no source, no worker.
    #[arg(long, env = "KOLLATOR_TIMEOUT", value_name = "SECONDS", global = true, default_value_t = 15,
          value_parser = clap::value_parser!(u32).range(1..=86_400))]
    timeout: u32,
    /// KB to send to others a second at most; 0 sets no limit.
    #[arg(long, env = "KOLLATOR_UPLOAD_LIMIT_KB", value_name = "KB", global = true, default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(0..=100_000_000))]
    upload_limit_kb: u64,
    /// KB to fetch a second at most; 0 sets no limit.
    #[arg(long, env = "KOLLATOR_DOWNLOAD_LIMIT_KB", value_name = "KB", global = true, default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(0..=100_000_000))]
    download_limit_kb: u64,
    /// How log lines on standard error look; RUST_LOG says which there are.
    #[arg(long, env = "KOLLATOR_LOG_FORMAT", global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Share a file or folder: prints its link once a worker has stored all of it.
    ///
    /// Symbolic links and special files in a folder are left out and named.
    Share(Share),
    /// Get a share. A second run of the same command goes on where the first was stopped.
    Download(Download),
    /// Write the .ko of a file or folder without sharing it.
    Create(Create),
    /// Say what a .ko or .torrent file, a magnet link or a share link names. Does not use the network.
    Info(Info),
    /// Print one's public key, to which others can share. Makes an identity if there is none.
    Key(Key),
}

#[derive(Debug, Args)]
pub(crate) struct Share {
    /// The file or folder.
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) making: Making,
    /// Encrypt the share: only who has its whole link can open it, no front, no worker and no other peer.
    #[arg(long)]
    pub(crate) encrypt: bool,
    /// Encrypt the share to the owner of this public key, whose `kollator key` prints it: only they can open it with the
    /// link.
    #[arg(long, value_name = "PUBLIC_KEY", allow_hyphen_values = true)]
    pub(crate) to: Option<PublicKey>,
    /// Also write the share's .ko to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) ko: Option<PathBuf>,
    /// Stay and serve the share to others until interrupted.
    #[arg(long)]
    pub(crate) seed: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The file or folder.
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) making: Making,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    pub(crate) ko: PathBuf,
}

/// How a share is made.
#[derive(Debug, Args)]
pub(crate) struct Making {
    /// Bytes in a piece: a power of two from 16KiB to 16MiB.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_PIECE_LENGTH, value_parser = piece_length)]
    pub(crate) piece_length: u32,
    /// Name of the share; that of the file or folder by default.
    #[arg(long)]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Download {
    /// A share link, a magnet link, an info hash, or a .ko or .torrent file.
    #[arg(value_name = "LINK")]
    pub(crate) target: String,
    /// The file or folder to make; a path that ends in / has it inside. By default, the share's name in the
    /// current folder. While it comes, it is called PATH.part.
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    /// Get the bytes in order rather than the rarest first.
    #[arg(long)]
    pub(crate) sequential: bool,
    /// Base URL of a worker to ask over HTTP from the start, such as http://203.0.113.7:8081; repeated, or separated by
    /// commas, for several. With it, no front is asked but those that --front or the link names.
    #[arg(long = "from", value_name = "URL", value_delimiter = ',', value_parser = worker_url)]
    pub(crate) workers: Vec<WorkerUrl>,
    /// Only ask workers over HTTP; open no data channels. Without it, HTTP helps out where data channels do not come about
    /// within 5 seconds, or are slow.
    #[arg(long, conflicts_with = "no_http")]
    pub(crate) http_only: bool,
    #[command(flatten)]
    pub(crate) dht: DhtArgs,
    /// Never ask workers over HTTP.
    #[arg(long, conflicts_with = "workers")]
    pub(crate) no_http: bool,
    /// Print what happens as JSON lines on standard output.
    #[arg(long)]
    pub(crate) json: bool,
    /// Replace what is at the output.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Succeed only once the download would survive a power cut. It survives the end of this program anyway.
    #[arg(long)]
    pub(crate) sync: bool,
}

impl Download {
    /// How the user wants HTTP used.
    pub(crate) const fn http(&self) -> HttpUse {
        match (self.http_only, self.no_http) {
            (true, _) => HttpUse::Only,
            (_, true) => HttpUse::Never,
            _ => HttpUse::Helping,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Key {
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Info {
    /// A share link, a magnet link, an info hash, or a .ko or .torrent file.
    #[arg(value_name = "LINK|FILE")]
    pub(crate) target: String,
    /// Print it as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Network {
    /// How long a command goes on without any progress.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.timeout.into())
    }

    /// Most bytes to send a second, and to fetch; 0: no limit.
    pub(crate) const fn limits(&self) -> (u64, u64) {
        (self.upload_limit_kb * 1000, self.download_limit_kb * 1000)
    }

    /// The fronts that were given, or the usual one.
    pub(crate) fn fronts(&self) -> Vec<FrontUrl> {
        let given = self.given_fronts();
        if given.is_empty() { vec![FrontUrl::parse(USUAL_FRONT).expect("a front's URL")] } else { given.to_vec() }
    }

    /// The fronts that were given.
    pub(crate) fn given_fronts(&self) -> &[FrontUrl] {
        &self.fronts
    }

    /// The fronts as base URLs.
    pub(crate) fn base_urls(&self) -> Vec<String> {
        self.fronts().iter().map(ToString::to_string).collect()
    }

    pub(crate) fn start_logging(&self) -> anyhow::Result<()> {
        let filter = EnvFilter::builder()
            .with_default_directive(LevelFilter::ERROR.into())
            .from_env()
            .context("RUST_LOG must be a filter such as debug or kollator_runtime=debug")?;
        self.log_format.start(filter);
        Ok(())
    }
}

/// Reads the base URL of a worker.
fn worker_url(text: &str) -> Result<WorkerUrl, String> {
    Origin::parse(text).map_err(|error| error.to_string())?;
    text.parse().map_err(|error: BadName| error.to_string())
}

/// Reads a number of bytes, perhaps with the unit `KiB` or `MiB`, that is a legal piece length.
fn piece_length(text: &str) -> Result<u32, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "" => Some(1),
        "KiB" | "K" | "k" => Some(1024),
        "MiB" | "M" => Some(1024 * 1024),
        _ => None,
    };
    let length = factor.and_then(|factor: u32| digits.parse::<u32>().ok()?.checked_mul(factor));
    length
        .filter(|n| n.is_power_of_two() && (MIN_PIECE_LENGTH..=MAX_PIECE_LENGTH).contains(n))
        .ok_or_else(|| "it must be a power of two from 16384 (16KiB) to 16777216 (16MiB)".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Settings::command().debug_assert();
    }

    #[test]
    fn piece_lengths_are_powers_of_two_in_range() {
        for (text, length) in [("16384", 16384), ("16KiB", 16384), ("1M", 1 << 20), ("16MiB", 16 << 20)] {
            assert_eq!(piece_length(text), Ok(length), "{text}");
        }
        for text in ["", "KiB", "5000000", "8KiB", "32MiB", "16 KiB", "-16384", "4GiB", "4294967296MiB", "1e6"] {
            assert!(piece_length(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_is_encrypted_to_a_public_key() {
        let parse =
            |args: &[&str]| match Settings::try_parse_from(["kollator", "share", "x"].iter().chain(args))?.verb {
                Verb::Share(share) => Ok::<_, clap::Error>((share.encrypt, share.to.map(|to| to.to_string()))),
                _ => panic!("a share was asked for"),
            };
        // A key may begin with a hyphen.
        let key = PublicKey::new([0xf8; 32]).to_string();
        assert!(key.starts_with('-'));
        assert_eq!(parse(&["--to", &key]).unwrap(), (false, Some(key)));
        assert_eq!(parse(&["--encrypt"]).unwrap(), (true, None));
        assert!(parse(&["--to", "me"]).unwrap_err().to_string().contains("a public key must be 43 characters"));
    }

    #[test]
    fn fronts_may_be_repeated_or_separated_by_commas() {
        let parse = |args: &[&str]| {
            let settings = Settings::try_parse_from(args.iter().copied())?;
            Ok::<_, clap::Error>(settings.network.base_urls())
        };
        assert_eq!(
            parse(&["kollator", "info", "x", "--front", "http://a:1,https://b", "--front", "http://c"]).unwrap(),
            ["http://a:1", "https://b", "http://c"]
        );
        assert_eq!(parse(&["kollator", "info", "x"]).unwrap(), [USUAL_FRONT]);
        let wrong = parse(&["kollator", "--front", "ftp://a", "info", "x"]).unwrap_err();
        assert!(wrong.to_string().contains("ftp://a"), "{wrong}");
        assert_eq!(wrong.exit_code(), 2);
    }

    #[test]
    fn limits_are_kilobytes_a_second_and_none_is_none() {
        let parse = |args: &[&str]| {
            let settings = Settings::try_parse_from(["kollator", "info", "x"].iter().chain(args))?;
            Ok::<_, clap::Error>(settings.network.limits())
        };
        assert_eq!(parse(&[]).unwrap(), (0, 0));
        assert_eq!(parse(&["--upload-limit-kb", "250", "--download-limit-kb=7"]).unwrap(), (250_000, 7000));
        for wrong in ["-1", "1.5", "10MB", "999999999999"] {
            assert_eq!(parse(&["--upload-limit-kb", wrong]).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn workers_are_named_by_their_urls() {
        let parse =
            |args: &[&str]| match Settings::try_parse_from(["kollator", "download", "x"].iter().chain(args))?.verb
            {
                Verb::Download(download) => {
                    let workers: Vec<String> = download.workers.iter().map(ToString::to_string).collect();
                    Ok::<_, clap::Error>((workers, download.http()))
                }
                _ => panic!("a download was asked for"),
            };
        let named = ["http://a:1".to_owned(), "https://b/base".to_owned()];
        let args = ["--from", "http://a:1/,https://b/base", "--http-only"];
        assert_eq!(parse(&args).unwrap(), (named.to_vec(), HttpUse::Only));
        assert_eq!(parse(&["--no-http"]).unwrap(), (Vec::new(), HttpUse::Never));
        assert_eq!(parse(&[]).unwrap(), (Vec::new(), HttpUse::Helping));
        for wrong in [["--from", "ftp://a"], ["--from", "http://a:0"], ["--from", "http://a/?x"], ["--from", ""]] {
            let error = parse(&wrong).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{wrong:?}: {error}");
        }
        assert!(parse(&["--no-http", "--http-only"]).is_err());
        assert!(parse(&["--no-http", "--from", "http://a"]).is_err());
    }
}
