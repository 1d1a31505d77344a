//! Offers and answers that a front only passes on: nearly all that it carries. Their description stays the JSON text
//! that its sender wrote, so that nothing is unescaped and escaped again. Takes only the usual form, byte for byte;
//! whatever else a text may be is for [`ToFront::parse`](super::signal::ToFront::parse) to say.

use super::signal::{MAX_MESSAGE, MAX_SDP};
use crate::id::PeerId;

/// An offer or answer that breaks no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passing<'a> {
    /// Whom it is for.
    pub(crate) to: PeerId,
    /// Digits of the session's number.
    session: &'a str,
    /// From the body's value on, to the end of the message.
    body: &'a str,
}

impl<'a> Passing<'a> {
    /// The signal in `text`, if it is an offer or answer as Kollator's own clients write it, in which nothing but line
    /// ends and tabs had to be escaped. `None` says nothing of what the text is.
    pub(crate) fn read(text: &'a [u8]) -> Option<Self> {
        if text.len() > MAX_MESSAGE {
            return None;
        }
        let text = str::from_utf8(text).ok()?;
        let (to, rest) = text.strip_prefix(r#"{"type":"signal","to":""#)?.split_at_checked(64)?;
        let (session, body) = rest.strip_prefix(r#"","session":"#)?.split_once(r#","body":"#)?;
        let sdp = body.strip_prefix(r#"{"kind":"offer","sdp":""#);
        let sdp = sdp.or_else(|| body.strip_prefix(r#"{"kind":"answer","sdp":""#))?.strip_suffix(r#""}}"#)?;
        let fits = is_number(session) && (1..=MAX_SDP).contains(&unescaped_len(sdp)?);
        fits.then_some(Self { to: to.parse().ok()?, session, body })
    }

    /// What its receiver is sent.
    pub(crate) fn to_text(self, from: PeerId) -> String {
        let from = from.to_string();
        [r#"{"type":"signal","from":""#, &from, r#"","session":"#, self.session, r#","body":"#, self.body].concat()
    }
}

/// Whether `digits` are a JSON number from 0 to `u32::MAX`.
fn is_number(digits: &str) -> bool {
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    is_plain && digits.parse::<u32>().is_ok()
}

/// Bytes in the text that `escaped` stands for between the quotes of a JSON string, if only line ends and tabs are
/// escaped in it. Goes through it without branches where it can: this is most of what passing on costs.
fn unescaped_len(escaped: &str) -> Option<usize> {
    let must_be_escaped = |byte: &u8| *byte < b' ' || *byte == b'"';
    if escaped.as_bytes().iter().fold(false, |found, byte| found | must_be_escaped(byte)) {
        return None;
    }
    let mut parts = escaped.split('\\');
    let mut escapes = parts.next().map(|_| 0)?;
    for part in parts {
        if !part.starts_with(['r', 'n', 't']) {
            return None;
        }
        escapes += 1;
    }
    Some(escaped.len() - escapes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::Digest;
    use crate::wire::signal::{FromFront, Signal, ToFront};

    fn peer(bytes: [u8; 32]) -> PeerId {
        PeerId(Digest(bytes))
    }

    fn message() -> impl Strategy<Value = ToFront> {
        let usual = "([ !#-\\[\\]-~]{0,40}(\r\n|\t|\n)){0,6}[a-z]";
        let body = prop_oneof![
            4 => usual.prop_map(|sdp| Signal::Offer { sdp }),
            4 => usual.prop_map(|sdp| Signal::Answer { sdp }),
            2 => "(?s).{1,60}".prop_map(|sdp| Signal::Offer { sdp }),
            1 => "[ -~]{0,60}".prop_map(|candidate| Signal::Candidate { candidate }),
            1 => Just(Signal::bye("no")),
        ];
        (any::<[u8; 32]>(), any::<u32>(), body).prop_map(|(to, session, body)| ToFront::Signal {
            to: peer(to),
            session,
            body,
        })
    }

    /// What passes is what would have been parsed and written anew, byte for byte.
    fn check(text: &[u8], from: PeerId) -> Result<bool, TestCaseError> {
        let Some(passing) = Passing::read(text) else { return Ok(false) };
        let Ok(ToFront::Signal { to, session, body }) = ToFront::parse(text) else {
            return Err(TestCaseError::fail("the usual way refuses it"));
        };
        prop_assert_eq!(passing.to, to);
        prop_assert_eq!(passing.to_text(from), FromFront::Signal { from, session, body }.to_text());
        Ok(true)
    }

    proptest! {
        #[test]
        fn what_passes_is_what_would_have_been_written(message in message(), from: [u8; 32]) {
            let ToFront::Signal { body, .. } = &message else { unreachable!("nothing else is made") };
            let is_usual = match body {
                Signal::Offer { sdp } | Signal::Answer { sdp } => {
                    !sdp.contains(['"', '\\']) && sdp.chars().all(|c| c >= ' ' || matches!(c, '\r' | '\n' | '\t'))
                }
                _ => false,
            };
            prop_assert_eq!(check(message.to_text().as_bytes(), peer(from))?, is_usual);
        }

        #[test]
        fn nothing_passes_that_would_have_been_refused(
            message in message(), from: [u8; 32], at in any::<prop::sample::Index>(), byte: u8, cut: bool,
        ) {
            let mut text = message.to_text().into_bytes();
            let at = at.index(text.len());
            text[at] = byte;
            check(&text, peer(from))?;
            if cut {
                text.truncate(at);
            }
            check(&text, peer(from))?;
        }
    }

    #[test]
    fn limits_are_those_of_every_signal() {
        let of = |sdp: &str, session: &str| {
            let to = peer([7; 32]);
            format!(
                r#"{{"type":"signal","to":"{to}","session":{session},"body":{{"kind":"offer","sdp":"{sdp}"}}}}"#
            )
        };
        let longest = "x".repeat(MAX_SDP - 2) + r"\r\n";
        for (sdp, session, passes) in [
            (longest.as_str(), "0", true),
            (&format!("{longest}x"), "0", false),
            ("", "0", false),
            ("x", "4294967295", true),
            ("x", "4294967296", false),
            ("x", "+1", false),
            ("x", "-0", false),
            ("x", "01", false),
            ("x", "", false),
            ("x", " 1", false),
            (r"\u0041", "1", false),
            (r"\", "1", false),
            (r"\x", "1", false),
        ] {
            let text = of(sdp, session);
            assert_eq!(Passing::read(text.as_bytes()).is_some(), passes, "{session} {}", sdp.len());
            let usual = ToFront::parse(text.as_bytes());
            assert!(usual.is_ok() || !passes, "{usual:?}");
        }
        let long = of(&r"\n".repeat(MAX_SDP), "1");
        assert!(Passing::read(long.as_bytes()).is_none(), "longer than any message");
    }
}
