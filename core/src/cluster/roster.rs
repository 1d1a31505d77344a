//! Who the fronts of a network are: the sorted list of names that every one of them is configured with, and which
//! of them this one is. Never changes while a front runs.

use sha2::{Digest as _, Sha256};

use super::{FrontId, MAX_FRONTS};
use crate::id::Digest;
use crate::wire::signal_codec::is_worker_name;

/// The names of all fronts of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    /// Sorted, each once.
    names: Vec<String>,
    own: FrontId,
}

/// Why a list of names cannot be a network's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRoster {
    /// A name outside the alphabet, or too long.
    #[error("{name:?} cannot name a front: it must be 1 to 64 of A-Z a-z 0-9 . _ -")]
    Name {
        /// The name, shortened to 80 characters.
        name: String,
    },
    /// Two fronts of one name.
    #[error("{name} is named twice")]
    Repeated {
        /// The name.
        name: String,
    },
    /// Nobody in the list is this front.
    #[error("{own} is not among the fronts")]
    Stranger {
        /// This front's name.
        own: String,
    },
    /// More fronts than a network has.
    #[error("{len} fronts are more than {MAX_FRONTS}")]
    TooMany {
        /// How many.
        len: usize,
    },
}

impl Roster {
    /// The fronts `names`, in any order, as the one of them that is called `own` sees them.
    ///
    /// # Errors
    /// Names the first rule that the list breaks.
    pub fn new(own: &str, mut names: Vec<String>) -> Result<Self, BadRoster> {
        if let Some(name) = names.iter().find(|name| !is_worker_name(name)) {
            return Err(BadRoster::Name { name: name.chars().take(80).collect() });
        }
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(BadRoster::Repeated { name: pair[0].clone() });
        }
        if names.len() > MAX_FRONTS {
            return Err(BadRoster::TooMany { len: names.len() });
        }
        match find(&names, own.as_bytes()) {
            Some(own) => Ok(Self { names, own }),
            None => Err(BadRoster::Stranger { own: own.chars().take(80).collect() }),
        }
    }

    /// Which of them this front is.
    #[must_use]
    pub const fn own(&self) -> FrontId {
        self.own
    }

    /// What this front is called.
    #[must_use]
    pub fn own_name(&self) -> &str {
        self.name(self.own)
    }

    /// What `front` is called.
    ///
    /// # Panics
    /// If the network has no such front.
    #[must_use]
    pub fn name(&self, front: FrontId) -> &str {
        &self.names[usize::from(front.0)]
    }

    /// Which front is called `name`.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<FrontId> {
        find(&self.names, name)
    }

    /// All of them, this one included, in order.
    pub fn all(&self) -> impl ExactSizeIterator<Item = FrontId> + use<> {
        (0..u8::try_from(self.names.len()).expect("at most 32 fronts")).map(FrontId)
    }

    /// All but this one, in order.
    pub fn others(&self) -> impl Iterator<Item = FrontId> + use<> {
        let own = self.own;
        self.all().filter(move |front| *front != own)
    }

    /// What two fronts compare to know that they have the same list: SHA-256 over each name in order, after a
    /// byte with its length.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        for name in &self.names {
            hash.update([u8::try_from(name.len()).expect("at most 64 bytes")]);
            hash.update(name);
        }
        Digest(hash.finalize().into())
    }
}

fn find(names: &[String], name: &[u8]) -> Option<FrontId> {
    let at = names.binary_search_by(|candidate| candidate.as_bytes().cmp(name)).ok()?;
    Some(FrontId(u8::try_from(at).expect("at most 32 fronts")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// The digest was checked with `printf '\007front-1\007front-2' | sha256sum`.
    #[test]
    fn a_front_is_its_place_in_the_sorted_list() {
        let roster = Roster::new("front-2", names(&["front-2", "front-1"])).expect("good");
        assert_eq!((roster.own(), roster.own_name()), (FrontId(1), "front-2"));
        assert_eq!((roster.name(FrontId(0)), roster.find(b"front-1")), ("front-1", Some(FrontId(0))));
        assert_eq!(roster.others().collect::<Vec<_>>(), [FrontId(0)]);
        let digest = "2a5c68bd635387dfaf65558a9459ecd3d4710a281bd3be5cf5d4ce8f6503bf2a";
        assert_eq!(roster.digest().to_string(), digest);
    }

    #[test]
    fn bad_lists_are_refused() {
        let refusal = |own: &str, list: &[&str]| Roster::new(own, names(list)).expect_err("bad");
        assert_eq!(refusal("a", &["a", "b", "a"]), BadRoster::Repeated { name: "a".into() });
        assert_eq!(refusal("a", &["a", "b c"]), BadRoster::Name { name: "b c".into() });
        assert_eq!(refusal("a", &["a", ""]), BadRoster::Name { name: String::new() });
        assert_eq!(refusal("a", &["b"]), BadRoster::Stranger { own: "a".into() });
        assert_eq!(refusal("a", &[]), BadRoster::Stranger { own: "a".into() });
        let many: Vec<_> = (0..33).map(|n| format!("front-{n}")).collect();
        assert_eq!(Roster::new("front-1", many.clone()), Err(BadRoster::TooMany { len: 33 }));
        assert_eq!(Roster::new("front-1", many[..32].to_vec()).expect("fits").all().len(), 32);
    }

    proptest! {
        #[test]
        fn every_front_sees_the_same_list(
            list in proptest::collection::btree_set("[A-Za-z0-9._-]{1,6}", 1..12).prop_map(Vec::from_iter),
            own in any::<prop::sample::Index>(), order in any::<u64>(),
        ) {
            let own = own.get(&list).clone();
            let mut shuffled = list.clone();
            shuffled.rotate_left(usize::try_from(order % list.len() as u64).expect("small"));
            let roster = Roster::new(&own, shuffled).expect("good");
            prop_assert_eq!(roster.own_name(), &own);
            let seen: Vec<_> = roster.all().map(|front| roster.name(front).to_owned()).collect();
            prop_assert_eq!(&seen, &list);
            let first = Roster::new(&list[0], list.clone()).expect("good");
            prop_assert_eq!(first.digest(), roster.digest());
            let mut other = list.clone();
            other.push("another-name".to_owned());
            prop_assert_ne!(Roster::new(&own, other).expect("good").digest(), roster.digest());
        }
    }
}
