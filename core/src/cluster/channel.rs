//! The connection from one front to another: how both prove that they hold the network's shared key and mean each
//! other, and how every message after that proves that it is the next one. The bytes are in `docs/protocol.md`,
//! section 5.
//!
//! Proves who speaks and keeps what is said unchanged, but not secret: that is TLS's part. A refusal ends the
//! connection; nothing of a refused message is looked at.

use bytes::{BufMut, Bytes, BytesMut};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::FrontId;
use super::roster::Roster;
use crate::auth::SharedKey;
use crate::wire::sync::{MAX_MESSAGE, VERSION};

/// Bytes that authentication adds to a message: a counter and a truncated HMAC.
pub const OVERHEAD: usize = COUNTER + TAG;
/// Most bytes in what is carried after the handshake.
pub const MAX_SEALED: usize = MAX_MESSAGE + OVERHEAD;
/// Most bytes in a message of the handshake.
pub const MAX_HANDSHAKE: usize = 2 + 32 + 32 + 2 * (1 + MAX_NAME) + MAC;

const COUNTER: usize = 8;
const TAG: usize = 16;
const MAC: usize = 32;
const CHALLENGE: usize = 2 + 32;
const MAX_NAME: usize = 64;

/// What each HMAC is for. None begins like a worker's proof, which the same key makes: no name has a space.
mod purpose {
    pub(super) const HELLO: &[u8] = b" front hello";
    pub(super) const ACCEPT: &[u8] = b" front accept";
    pub(super) const SESSION: &[u8] = b" front session";
}

/// 32 bytes that nobody can guess and that were never used before.
pub type Nonce = [u8; 32];

/// Why the other side is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It speaks another version of the protocol.
    #[error("it speaks version {theirs} of the protocol between fronts, this front speaks {VERSION}")]
    Version {
        /// Its version.
        theirs: u16,
    },
    /// A message of the handshake ends inside a field.
    #[error("its handshake ends inside the {field}")]
    Truncated {
        /// The field that is cut.
        field: &'static str,
    },
    /// A message of the handshake goes on after its last field.
    #[error("its handshake has {len} bytes too many")]
    Trailing {
        /// How many.
        len: usize,
    },
    /// A proof of the handshake was not made with this key, or for another handshake.
    #[error("its proof does not match the shared key")]
    Forged,
    /// It is configured with other fronts.
    #[error("it is configured with another list of fronts than this one")]
    OtherFronts,
    /// It calls itself by a name that no other front has.
    #[error("it calls itself {name:?}, which is no other front of this network")]
    Stranger {
        /// The name, made readable.
        name: String,
    },
    /// It meant another front.
    #[error("it dialled {name:?}, which is not this front")]
    Misdialled {
        /// The name it dialled, made readable.
        name: String,
    },
    /// A message is shorter than what authenticates it.
    #[error("a message of {len} bytes has no room for its proof")]
    TooShort {
        /// Bytes in it.
        len: usize,
    },
    /// A message is longer than any.
    #[error("a message of {len} bytes is longer than any ({MAX_SEALED})")]
    TooLong {
        /// Bytes in it.
        len: usize,
    },
    /// A message was not made in this session, or was changed.
    #[error("a message does not match its proof")]
    Tampered,
    /// A message was received before.
    #[error("message {counter} came again where {expected} was due")]
    Replayed {
        /// Its number.
        counter: u64,
        /// The number that was due.
        expected: u64,
    },
    /// A message came before an earlier one.
    #[error("message {counter} came where {expected} was due")]
    Skipped {
        /// Its number.
        counter: u64,
        /// The number that was due.
        expected: u64,
    },
}

/// The accepting side, its challenge sent.
#[derive(Debug)]
pub struct Challenger {
    key: SharedKey,
    roster: Roster,
    challenge: [u8; CHALLENGE],
}

impl Challenger {
    /// Begins to accept a front of `roster`; the bytes to send first.
    #[must_use]
    pub fn new(key: SharedKey, roster: Roster, nonce: Nonce) -> (Self, Bytes) {
        let mut challenge = [0; CHALLENGE];
        let (version, rest) = challenge.split_at_mut(2);
        version.copy_from_slice(&VERSION.to_be_bytes());
        rest.copy_from_slice(&nonce);
        (Self { key, roster, challenge }, Bytes::copy_from_slice(&challenge))
    }

    /// Judges the answer to the challenge. Gives what opens the dialler's messages, and the bytes to send back.
    ///
    /// # Errors
    /// Says why the dialler is refused.
    pub fn accept(self, hello: &[u8]) -> Result<(AuthedReceiver, Bytes), Refusal> {
        let said = Hello::parse(hello)?;
        let proof = self.key.hmac(purpose::HELLO).chain_update(self.challenge).chain_update(said.proven);
        proof.verify_slice(said.mac).map_err(|_| Refusal::Forged)?;
        if *said.fronts != self.roster.digest().0 {
            return Err(Refusal::OtherFronts);
        }
        let from = self.roster.find(said.name).filter(|from| *from != self.roster.own());
        let from = from.ok_or_else(|| Refusal::Stranger { name: readable(said.name) })?;
        if said.dialled != self.roster.own_name().as_bytes() {
            return Err(Refusal::Misdialled { name: readable(said.dialled) });
        }
        let transcript = Transcript { key: &self.key, challenge: &self.challenge, hello };
        let accept = transcript.accept().finalize().into_bytes();
        Ok((AuthedReceiver { from, session: transcript.session(), next: 0 }, Bytes::copy_from_slice(&accept)))
    }
}

/// The dialling side, waiting for a challenge.
#[derive(Debug)]
pub struct Dialler {
    key: SharedKey,
    roster: Roster,
    to: FrontId,
    nonce: Nonce,
}

impl Dialler {
    /// Begins to dial the front `to` of `roster`.
    ///
    /// # Panics
    /// If `to` is this front, or none of the network.
    #[must_use]
    pub fn new(key: SharedKey, roster: Roster, to: FrontId, nonce: Nonce) -> Self {
        assert!(roster.others().any(|other| other == to), "{to} is no other front");
        Self { key, roster, to, nonce }
    }

    /// Answers the challenge; the bytes to send.
    ///
    /// # Errors
    /// Says why the other side is refused.
    pub fn answer(self, challenge: &[u8]) -> Result<(Proven, Bytes), Refusal> {
        let mut fields = Fields(challenge);
        check_version(&mut fields)?;
        fields.array::<32>("nonce")?;
        fields.end()?;
        let mut hello = BytesMut::with_capacity(MAX_HANDSHAKE);
        hello.put_u16(VERSION);
        hello.put_slice(&self.roster.digest().0);
        hello.put_slice(&self.nonce);
        for name in [self.roster.own_name(), self.roster.name(self.to)] {
            hello.put_u8(u8::try_from(name.len()).expect("at most 64 bytes"));
            hello.put_slice(name.as_bytes());
        }
        let mac = self.key.hmac(purpose::HELLO).chain_update(challenge).chain_update(&hello);
        hello.put_slice(&mac.finalize().into_bytes());
        let hello = hello.freeze();
        let transcript = Transcript { key: &self.key, challenge, hello: &hello };
        let proven = Proven { to: self.to, accept: transcript.accept(), session: transcript.session() };
        Ok((proven, hello))
    }
}

/// The dialling side, its proof sent.
#[derive(Debug)]
pub struct Proven {
    to: FrontId,
    accept: Hmac<Sha256>,
    session: Hmac<Sha256>,
}

impl Proven {
    /// Judges the accepting side's own proof. Gives what seals messages to it.
    ///
    /// # Errors
    /// Says why the other side is refused.
    pub fn finish(self, accept: &[u8]) -> Result<AuthedSender, Refusal> {
        let mut fields = Fields(accept);
        let mac = fields.array::<MAC>("proof")?;
        fields.end()?;
        self.accept.verify_slice(mac).map_err(|_| Refusal::Forged)?;
        Ok(AuthedSender { to: self.to, session: self.session, next: 0 })
    }
}

/// The dialling side after the handshake: makes messages that the other can trust.
#[derive(Debug)]
pub struct AuthedSender {
    to: FrontId,
    session: Hmac<Sha256>,
    next: u64,
}

impl AuthedSender {
    /// Who receives them.
    #[must_use]
    pub const fn to(&self) -> FrontId {
        self.to
    }

    /// The bytes to send for `message`. Each is the next one, whether it arrives or not.
    ///
    /// # Panics
    /// If the message is longer than [`MAX_MESSAGE`].
    #[must_use]
    pub fn seal(&mut self, message: &[u8]) -> Bytes {
        assert!(message.len() <= MAX_MESSAGE, "a message made here has {} bytes", message.len());
        let counter = self.next.to_be_bytes();
        self.next += 1;
        let mac = self.session.clone().chain_update(counter).chain_update(message).finalize().into_bytes();
        let mut sealed = BytesMut::with_capacity(OVERHEAD + message.len());
        sealed.put_slice(&counter);
        sealed.put_slice(&mac[..TAG]);
        sealed.put_slice(message);
        sealed.freeze()
    }
}

/// The accepting side after the handshake: lets through only what the other made, once and in order.
#[derive(Debug)]
pub struct AuthedReceiver {
    from: FrontId,
    session: Hmac<Sha256>,
    next: u64,
}

impl AuthedReceiver {
    /// Who sends them.
    #[must_use]
    pub const fn from(&self) -> FrontId {
        self.from
    }

    /// The message in `sealed`, without copying it.
    ///
    /// # Errors
    /// Says why it is refused. Nothing changed, but something is wrong with the connection.
    pub fn open(&mut self, sealed: &Bytes) -> Result<Bytes, Refusal> {
        let len = sealed.len();
        if len > MAX_SEALED {
            return Err(Refusal::TooLong { len });
        }
        let Some((counter, rest)) = sealed.split_first_chunk::<COUNTER>() else {
            return Err(Refusal::TooShort { len });
        };
        let Some((tag, message)) = rest.split_first_chunk::<TAG>() else {
            return Err(Refusal::TooShort { len });
        };
        let mac = self.session.clone().chain_update(counter).chain_update(message);
        mac.verify_truncated_left(tag).map_err(|_| Refusal::Tampered)?;
        let (counter, expected) = (u64::from_be_bytes(*counter), self.next);
        if counter < expected {
            return Err(Refusal::Replayed { counter, expected });
        }
        if counter > expected {
            return Err(Refusal::Skipped { counter, expected });
        }
        self.next += 1;
        Ok(sealed.slice(OVERHEAD..))
    }
}

/// What both sides said so far.
struct Transcript<'a> {
    key: &'a SharedKey,
    challenge: &'a [u8],
    hello: &'a [u8],
}

impl Transcript<'_> {
    fn accept(&self) -> Hmac<Sha256> {
        self.hmac(purpose::ACCEPT)
    }

    fn session(&self) -> Hmac<Sha256> {
        let key = self.hmac(purpose::SESSION).finalize().into_bytes();
        Hmac::new_from_slice(&key).expect("HMAC takes a key of any length")
    }

    fn hmac(&self, purpose: &[u8]) -> Hmac<Sha256> {
        self.key.hmac(purpose).chain_update(self.challenge).chain_update(self.hello)
    }
}

/// The dialler's answer, taken apart.
struct Hello<'a> {
    fronts: &'a [u8; 32],
    name: &'a [u8],
    dialled: &'a [u8],
    /// All but the proof.
    proven: &'a [u8],
    mac: &'a [u8; MAC],
}

impl<'a> Hello<'a> {
    fn parse(hello: &'a [u8]) -> Result<Self, Refusal> {
        let mut fields = Fields(hello);
        check_version(&mut fields)?;
        let fronts = fields.array("list of fronts")?;
        fields.array::<32>("nonce")?;
        let name = fields.name("name")?;
        let dialled = fields.name("name dialled")?;
        let proven = &hello[..hello.len() - fields.0.len()];
        let mac = fields.array("proof")?;
        fields.end()?;
        Ok(Self { fronts, name, dialled, proven, mac })
    }
}

/// Keeps its place in every version, so that fronts of different versions can say so.
fn check_version(fields: &mut Fields<'_>) -> Result<(), Refusal> {
    match u16::from_be_bytes(*fields.array("version")?) {
        VERSION => Ok(()),
        theirs => Err(Refusal::Version { theirs }),
    }
}

/// What is left of a message of the handshake.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self, field: &'static str) -> Result<&'a [u8; N], Refusal> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Refusal::Truncated { field })?;
        self.0 = rest;
        Ok(array)
    }

    fn name(&mut self, field: &'static str) -> Result<&'a [u8], Refusal> {
        let [len] = self.array(field)?;
        let (name, rest) = self.0.split_at_checked(usize::from(*len)).ok_or(Refusal::Truncated { field })?;
        self.0 = rest;
        Ok(name)
    }

    const fn end(&self) -> Result<(), Refusal> {
        match self.0.len() {
            0 => Ok(()),
            len => Err(Refusal::Trailing { len }),
        }
    }
}

fn readable(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> SharedKey {
        SharedKey::new(b"sixteen bytes ok").expect("long enough")
    }

    fn roster(own: &str) -> Roster {
        Roster::new(own, ["front-1", "front-2", "front-3"].map(str::to_owned).to_vec()).expect("good")
    }

    fn dialler(from: &str, to: u8) -> Dialler {
        Dialler::new(key(), roster(from), FrontId(to), [2; 32])
    }

    fn challenger(own: &str) -> (Challenger, Bytes) {
        Challenger::new(key(), roster(own), [1; 32])
    }

    /// A handshake in which `change` may change each message on its way.
    fn shake(mut change: impl FnMut(usize, &mut Vec<u8>)) -> Result<(AuthedSender, AuthedReceiver), Refusal> {
        let mut carried = |n: usize, message: Bytes| {
            let mut message = message.to_vec();
            change(n, &mut message);
            message
        };
        let (accepting, challenge) = challenger("front-2");
        let (proven, hello) = dialler("front-1", 1).answer(&carried(0, challenge))?;
        let (receiver, accept) = accepting.accept(&carried(1, hello))?;
        let sender = proven.finish(&carried(2, accept))?;
        Ok((sender, receiver))
    }

    #[test]
    fn both_know_each_other_after_the_handshake() {
        let (mut sender, mut receiver) = shake(|_, _| {}).expect("honest");
        assert_eq!((sender.to(), receiver.from()), (FrontId(1), FrontId(0)));
        for message in [&b"one"[..], b"", &[7; MAX_MESSAGE]] {
            let sealed = sender.seal(message);
            assert_eq!(sealed.len(), message.len() + OVERHEAD);
            assert_eq!(receiver.open(&sealed).expect("honest"), message);
        }
    }

    /// Made by another program, from the description of the protocol.
    #[test]
    fn the_bytes_are_those_of_the_description() {
        let pair = |own| Roster::new(own, vec!["front-1".into(), "front-2".into()]).expect("good");
        let (accepting, challenge) = Challenger::new(key(), pair("front-2"), [1; 32]);
        let dialling = Dialler::new(key(), pair("front-1"), FrontId(1), [2; 32]);
        let (proven, hello) = dialling.answer(&challenge).expect("honest");
        let (mut receiver, accept) = accepting.accept(&hello).expect("honest");
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        assert_eq!(
            hex(&hello[hello.len() - MAC..]),
            "35bffa3659906ec4d5aa33123a8137228088439eaa0b966f2586cca80a28cb19"
        );
        assert_eq!(hex(&accept), "7d252eefcaaf5feaa8f1de22e798504dfb4e6d16e703436ff69978719439d488");
        let mut sender = proven.finish(&accept).expect("honest");
        let sealed = sender.seal(b"hi");
        assert_eq!(hex(&sealed), "00000000000000003fc6456a7327ac5c5ffc7d9051dc74bd6869");
        assert_eq!(receiver.open(&sealed).expect("honest"), "hi");
    }

    #[test]
    fn the_longest_hello_fits() {
        let names = ["a".repeat(64), "b".repeat(64)];
        let (_, challenge) = challenger("front-2");
        let roster = Roster::new(&names[0], names.to_vec()).expect("good");
        let (_, hello) = Dialler::new(key(), roster, FrontId(1), [2; 32]).answer(&challenge).expect("honest");
        assert_eq!(hello.len(), MAX_HANDSHAKE);
    }

    #[test]
    fn another_version_is_named_whatever_follows() {
        let theirs = VERSION + 1;
        let newer = [&theirs.to_be_bytes()[..], b"of the future"].concat();
        let (accepting, _) = challenger("front-2");
        assert_eq!(accepting.accept(&newer).err(), Some(Refusal::Version { theirs }));
        assert_eq!(dialler("front-1", 1).answer(&newer).err(), Some(Refusal::Version { theirs }));
    }

    #[test]
    fn another_key_is_refused_by_either_side() {
        let other = SharedKey::new(b"another sixteen!").expect("long enough");
        let (accepting, challenge) = challenger("front-2");
        let stranger = Dialler::new(other.clone(), roster("front-1"), FrontId(1), [2; 32]);
        let (_, hello) = stranger.answer(&challenge).expect("honest");
        assert_eq!(accepting.accept(&hello).err(), Some(Refusal::Forged));

        let impostor = Transcript { key: &other, challenge: &challenge, hello: &hello };
        let (proven, _) = dialler("front-1", 1).answer(&challenge).expect("honest");
        assert_eq!(proven.finish(&impostor.accept().finalize().into_bytes()).err(), Some(Refusal::Forged));
    }

    #[test]
    fn only_another_front_that_means_this_one_is_accepted() {
        let verdict = |dialling: Dialler| {
            let (accepting, challenge) = challenger("front-2");
            accepting.accept(&dialling.answer(&challenge).expect("honest").1).map(|(receiver, _)| receiver.from())
        };
        assert_eq!(verdict(dialler("front-3", 1)), Ok(FrontId(2)));
        assert_eq!(verdict(dialler("front-1", 2)), Err(Refusal::Misdialled { name: "front-3".into() }));
        // What this front itself said to another, brought back to it.
        assert_eq!(verdict(dialler("front-2", 0)), Err(Refusal::Stranger { name: "front-2".into() }));
        let fewer = Roster::new("front-1", vec!["front-1".into(), "front-2".into()]).expect("good");
        assert_eq!(verdict(Dialler::new(key(), fewer, FrontId(1), [2; 32])), Err(Refusal::OtherFronts));
    }

    #[test]
    fn a_hello_is_good_for_one_challenge() {
        let (_, challenge) = challenger("front-2");
        let (_, hello) = dialler("front-1", 1).answer(&challenge).expect("honest");
        let (fresh, _) = Challenger::new(key(), roster("front-2"), [3; 32]);
        assert_eq!(fresh.accept(&hello).err(), Some(Refusal::Forged));
    }

    #[test]
    fn a_message_is_good_for_one_session() {
        let (mut sender, _) = shake(|_, _| {}).expect("honest");
        let (accepting, challenge) = Challenger::new(key(), roster("front-2"), [3; 32]);
        let (_, hello) = dialler("front-1", 1).answer(&challenge).expect("honest");
        let (mut receiver, _) = accepting.accept(&hello).expect("honest");
        assert_eq!(receiver.open(&sender.seal(b"x")), Err(Refusal::Tampered));
    }

    #[test]
    fn lengths_outside_the_limits_are_named() {
        let (_, mut receiver) = shake(|_, _| {}).expect("honest");
        for len in [0, COUNTER - 1, COUNTER, OVERHEAD - 1] {
            assert_eq!(receiver.open(&vec![0; len].into()), Err(Refusal::TooShort { len }));
        }
        let len = MAX_SEALED + 1;
        assert_eq!(receiver.open(&vec![0; len].into()), Err(Refusal::TooLong { len }));
        assert_eq!(receiver.open(&vec![0; MAX_SEALED].into()), Err(Refusal::Tampered));
    }

    proptest! {
        #[test]
        fn a_handshake_with_any_bit_flipped_fails(which in 0..3usize, bit in any::<prop::sample::Index>()) {
            let refusal = shake(|n, message| {
                if n == which {
                    let bit = bit.index(message.len() * 8);
                    message[bit / 8] ^= 1 << (bit % 8);
                }
            });
            prop_assert!(refusal.is_err());
        }

        #[test]
        fn a_handshake_that_is_cut_or_padded_fails(
            which in 0..3usize, cut in any::<prop::sample::Index>(), pad in 1..99usize,
        ) {
            let refusal = shake(|n, message| if n == which { message.truncate(cut.index(message.len())) }).err();
            let truncated = matches!(refusal, Some(Refusal::Truncated { .. }));
            prop_assert!(truncated, "{:?}", refusal);
            let refusal = shake(|n, message| if n == which { message.extend(vec![0; pad]) });
            prop_assert_eq!(refusal.err(), Some(Refusal::Trailing { len: pad }));
        }

        #[test]
        fn junk_is_no_handshake(junk in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = dialler("front-1", 1).answer(&junk);
            prop_assert!(challenger("front-2").0.accept(&junk).is_err());
            let versioned = [&VERSION.to_be_bytes()[..], &junk].concat();
            prop_assert!(challenger("front-2").0.accept(&versioned).is_err());
        }

        #[test]
        fn a_message_with_any_bit_flipped_or_cut_is_refused(
            message in proptest::collection::vec(any::<u8>(), 0..100), at in any::<prop::sample::Index>(),
        ) {
            let (mut sender, mut receiver) = shake(|_, _| {}).expect("honest");
            let sealed = sender.seal(&message);
            let mut flipped = sealed.to_vec();
            let bit = at.index(flipped.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(receiver.open(&flipped.into()), Err(Refusal::Tampered));
            let cut = sealed.slice(..at.index(sealed.len()));
            let refusal = receiver.open(&cut).expect_err("cut");
            let known = matches!(refusal, Refusal::Tampered | Refusal::TooShort { .. });
            prop_assert!(known, "{}", refusal);
            prop_assert_eq!(receiver.open(&sealed).expect("unharmed"), message);
        }

        #[test]
        fn messages_pass_once_and_in_order(arrivals in proptest::collection::vec(0..8u64, 0..40)) {
            let (mut sender, mut receiver) = shake(|_, _| {}).expect("honest");
            let sealed: Vec<_> = (0..8).map(|n: u8| sender.seal(&[n])).collect();
            let mut expected = 0;
            for counter in arrivals {
                let opened = receiver.open(&sealed[usize::try_from(counter).expect("small")]);
                if counter == expected {
                    prop_assert_eq!(opened.map(|message| u64::from(message[0])), Ok(counter));
                    expected += 1;
                } else if counter < expected {
                    prop_assert_eq!(opened, Err(Refusal::Replayed { counter, expected }));
                } else {
                    prop_assert_eq!(opened, Err(Refusal::Skipped { counter, expected }));
                }
            }
        }
    }
}
