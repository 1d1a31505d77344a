//! What can be wrong with a sealed share, its key or what is to be sealed. Never says anything of a key.

use crate::metainfo::name;

use super::MAX_SEALED_PATH;

/// Why a share cannot be sealed or opened. Nothing was made or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There is a key for a share that needs none.
    #[error("the share is not encrypted, but its link has a key: it is not what the link was made for")]
    NotSealed,
    /// There is no key for a sealed share.
    #[error("this share is encrypted and the link has no key: ask for the whole link, with everything after #")]
    NoKey,
    /// The key belongs to another share.
    #[error("the link's key does not open this share: it is the key of another one, or was changed on the way")]
    WrongKey,
    /// It says that it is sealed, but is one file.
    #[error("the share claims to be encrypted, but is a single file, which no encrypted share is")]
    NoFolder,
    /// A file of a sealed share is not as any honest sealer makes it.
    #[error("the encrypted share is malformed: file {file}: {problem}")]
    Malformed {
        /// Its index in the metainfo.
        file: u32,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A name, sealed or to be sealed, under which no file can safely be created.
    #[error("{path} is not a safe file name: {why}")]
    UnsafeName {
        /// The name, quoted and shortened.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two files have the same path, one is inside the other, or they are out of order.
    #[error("{path} is there twice, is a file and a folder at once, or is out of order")]
    Clash {
        /// The path, quoted and shortened.
        path: String,
    },
    /// A path with too many components.
    #[error("{path} is more than {} folders deep", crate::metainfo::MAX_PATH_DEPTH)]
    TooDeep {
        /// The path, quoted and shortened.
        path: String,
    },
    /// A path that does not fit into a metainfo when it is sealed.
    #[error("{path} has {length} bytes; an encrypted share has room for paths of {MAX_SEALED_PATH}")]
    TooLong {
        /// The path with the share's name, quoted and shortened.
        path: String,
        /// Its bytes.
        length: usize,
    },
    /// There are more files than a metainfo may have.
    #[error("there are more than {} files", crate::metainfo::MAX_FILES)]
    TooMany,
    /// A block is not what this key sealed at this place.
    #[error("block {block} does not open: it was not sealed with this share's key for this place")]
    Block {
        /// Its index in the file.
        block: u64,
    },
    /// A public key that nobody can have.
    #[error("the public key is none that somebody can have the secret of")]
    UnusablePublicKey,
    /// A wrapped key that is for somebody else.
    #[error("the link's key is not for this identity: it was made for another public key")]
    NotForYou,
}

impl SealError {
    pub(super) fn unsafe_name(component: &str, why: &'static str) -> Self {
        Self::UnsafeName { path: name::shortened(component), why }
    }
}
