//! Enumerations that say something of each of their kinds: what a fault is called, which judges must notice a bug.

/// Defines an enumeration and implements the trait that lists its kinds, as [`Fault`](crate::fault::Fault) and
/// [`Plant`](crate::plant::Plant) do.
macro_rules! kinds {
    (
        $(#[$about:meta])*
        pub enum $name:ident: $listed:path, $says:ident -> $words:ty {
            $($(#[$doc:meta])* $kind:ident = $word:expr),+ $(,)?
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$doc])* $kind),+
        }

        impl $listed for $name {
            const ALL: &'static [Self] = &[$(Self::$kind),+];

            fn $says(self) -> $words {
                match self {
                    $(Self::$kind => $word),+
                }
            }
        }
    };
}

pub(crate) use kinds;
