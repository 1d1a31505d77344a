//! Which addresses may do something: a list of networks. Never asks who an address belongs to.

use core::net::IpAddr;
use std::fmt;
use std::str::FromStr;

/// The networks that are let in; by default, all addresses are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(Option<Vec<Network>>);

/// A range of addresses that have their first bits in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// How many bits they have in common.
    prefix: u8,
}

/// Why a text is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNetwork {
    /// There is nothing where one was expected.
    #[error("a network is missing: write ADDRESS or ADDRESS/BITS, separated by commas")]
    Missing,
    /// Not an address.
    #[error("{text:?} is not a network: {address:?} is not an IP address")]
    Address {
        /// The whole of it.
        text: String,
        /// The part that should be one.
        address: String,
    },
    /// Not a number of bits that such an address has.
    #[error("{text:?} is not a network: after the / comes a number from 0 to {most}")]
    Prefix {
        /// The whole of it.
        text: String,
        /// Bits in such an address.
        most: u8,
    },
    /// Bits after the first ones are set: it names a host, and who wrote it may have meant either.
    #[error("{text:?} is not a network: {address} has bits beyond the first {prefix}; the network is {network}")]
    HostBits {
        /// The whole of it.
        text: String,
        /// The address in it.
        address: IpAddr,
        /// Its number of bits.
        prefix: u8,
        /// The network that the address is in.
        network: Network,
    },
    /// An IPv4 address written as an IPv6 address.
    #[error("{text:?} is an IPv4 network written as IPv6: write it as IPv4")]
    Mapped {
        /// The whole of it.
        text: String,
    },
}

impl AllowList {
    /// A list of these networks and no others.
    #[must_use]
    pub fn of(networks: impl IntoIterator<Item = Network>) -> Self {
        Self(Some(networks.into_iter().collect()))
    }

    /// Whether `ip` is in one of the networks. An IPv4 address is one however it is written, and is in no IPv6
    /// network.
    #[must_use]
    pub fn allows(&self, ip: IpAddr) -> bool {
        self.0.as_ref().is_none_or(|networks| networks.iter().any(|network| network.contains(ip)))
    }
}

impl FromStr for AllowList {
    type Err = BadNetwork;

    /// Networks separated by commas, at least one, such as `192.0.2.0/24, 2001:db8::/32, 203.0.113.7`.
    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        text.split(',').map(Network::from_str).collect::<Result<_, _>>().map(|networks| Self(Some(networks)))
    }
}

impl Network {
    /// Whether `ip` is in it.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.address.is_ipv4() && bits(ip).0 & mask(self.prefix) == bits(self.address).0
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    /// `ADDRESS/BITS`, or `ADDRESS` for that address alone; white space around it is ignored.
    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BadNetwork::Missing);
        }
        let (host, prefix) = text.split_once('/').map_or((text, None), |(host, prefix)| (host, Some(prefix)));
        let whole = || clip(text);
        let address: IpAddr =
            host.parse().map_err(|_| BadNetwork::Address { text: whole(), address: clip(host) })?;
        if address.to_canonical() != address {
            return Err(BadNetwork::Mapped { text: whole() });
        }
        let most = bits(address).1;
        let number = |prefix: &str| {
            let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
            prefix.parse().ok().filter(|prefix| digits && *prefix <= most)
        };
        let prefix =
            prefix.map_or(Some(most), number).ok_or_else(|| BadNetwork::Prefix { text: whole(), most })?;
        let network = Self { address: first_of(address, prefix), prefix };
        if network.address != address {
            return Err(BadNetwork::HostBits { text: whole(), address, prefix, network });
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The bits of an address, from the most significant of 128 on, and how many they are.
fn bits(ip: IpAddr) -> (u128, u8) {
    match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()) << 96, 32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    }
}

/// The first `prefix` of 128 bits.
fn mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

fn first_of(address: IpAddr, prefix: u8) -> IpAddr {
    let first = bits(address).0 & mask(prefix);
    match address {
        IpAddr::V4(_) => IpAddr::V4(((first >> 96) as u32).into()),
        IpAddr::V6(_) => IpAddr::V6(first.into()),
    }
}

/// Enough of a text to recognise it.
fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn list(text: &str) -> AllowList {
        text.parse().expect("a list")
    }

    /// Addresses that often share their first bits.
    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            vec(prop_oneof![Just(0), Just(255), any::<u8>()], 4)
                .prop_map(|b| IpAddr::from(<[u8; 4]>::try_from(b).expect("four"))),
            vec(prop_oneof![Just(0), Just(0xffff), any::<u16>()], 8)
                .prop_map(|b| IpAddr::from(<[u16; 8]>::try_from(b).expect("eight"))),
        ]
        .prop_filter("no IPv4 in IPv6", |ip| ip.to_canonical() == *ip)
    }

    /// An address in ones and zeros, told apart by family.
    fn digits(ip: IpAddr) -> String {
        match ip {
            IpAddr::V4(ip) => format!("four {:032b}", ip.to_bits()),
            IpAddr::V6(ip) => format!("six {:0128b}", ip.to_bits()),
        }
    }

    proptest! {
        #[test]
        fn a_network_holds_the_addresses_that_begin_like_it(
            base in address(), other in address(), bit in 0..128u32, prefix in 0..=128u8,
        ) {
            let most = if base.is_ipv4() { 32 } else { 128 };
            let prefix = prefix % (most + 1);
            let network: Network = format!("{}/{prefix}", first_of(base, prefix)).parse().expect("a network");
            let near = match base {
                IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() ^ 1 << (bit % 32)).into()),
                IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() ^ 1 << bit).into()),
            };
            let start = digits(base).len() - usize::from(most - prefix);
            for ip in [base, near, other].into_iter().filter(|ip| ip.to_canonical() == *ip) {
                prop_assert_eq!(network.contains(ip), digits(ip).starts_with(&digits(base)[..start]), "{}", ip);
            }
            prop_assert_eq!(network.to_string().parse(), Ok(network));
        }

        #[test]
        fn an_address_alone_is_a_network_of_one(ip in address(), other in address()) {
            let network: Network = ip.to_string().parse().expect("a network");
            prop_assert!(network.contains(ip));
            prop_assert_eq!(network.contains(other), ip == other);
        }

        #[test]
        fn whatever_is_written_is_a_list_or_an_error(text in "[0-9a-f:./, x]{0,40}") {
            match AllowList::from_str(&text) {
                Ok(AllowList(networks)) => {
                    let networks = networks.expect("a list that was written");
                    let written = networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
                    prop_assert_eq!(written.parse(), Ok(AllowList::of(networks)));
                }
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }

    #[test]
    fn nothing_is_refused_by_default_and_only_what_is_listed_passes_else() {
        assert!(AllowList::default().allows(ip("192.0.2.1")));
        let list = list("192.0.2.0/24, 2001:db8::/32,203.0.113.7 ");
        for allowed in ["192.0.2.0", "192.0.2.255", "::ffff:192.0.2.7", "2001:db8:ffff::1", "203.0.113.7"] {
            assert!(list.allows(ip(allowed)), "{allowed}");
        }
        for refused in ["192.0.3.0", "203.0.113.6", "2001:db9::", "::1", "::c000:201"] {
            assert!(!list.allows(ip(refused)), "{refused}");
        }
        assert!(!self::list("::/0").allows(ip("192.0.2.1")));
        assert!(self::list("0.0.0.0/0").allows(ip("192.0.2.1")));
        assert!(!AllowList::of([]).allows(ip("192.0.2.1")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let fault = |text: &str| text.parse::<AllowList>().expect_err(text).to_string();
        let missing = "a network is missing: write ADDRESS or ADDRESS/BITS, separated by commas";
        for text in ["", " ", "10.0.0.0/8,", ",10.0.0.0/8"] {
            assert_eq!(fault(text), missing, "{text:?}");
        }
        assert_eq!(fault("home/8"), r#""home/8" is not a network: "home" is not an IP address"#);
        for text in ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/8/8", "10.0.0.0/-1", "10.0.0.0/999"] {
            let expected = format!("{text:?} is not a network: after the / comes a number from 0 to 32");
            assert_eq!(fault(text), expected);
        }
        assert!(fault("2001:db8::/129").ends_with("from 0 to 128"));
        assert_eq!(
            fault("1.2.3.4, 10.1.2.3/8"),
            r#""10.1.2.3/8" is not a network: 10.1.2.3 has bits beyond the first 8; the network is 10.0.0.0/8"#
        );
        assert!(fault("::ffff:10.0.0.0/104").ends_with("write it as IPv4"));
        assert!(fault(&"x".repeat(10_000)).len() < 300);
    }
}
