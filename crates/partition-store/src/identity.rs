//! Whose a data directory is: the `identity` file in it.
//!
//! It is written before there is anything to protect and read before anything
//! else, so that a wiped, swapped, foreign or half-made directory is known as
//! such. What is *not* found out here: a directory that was put back from an old
//! copy looks like itself; its peers know better.
//!
//! The order of writing makes every moment a safe one to die in:
//!
//! 1. each new directory gets an identity that is still [`crate::codec::Phase::Making`] and names
//!    the disks that have one by then, and itself;
//! 2. the databases are made in it;
//! 3. all identities become [`crate::codec::Phase::Made`] and name all disks.
//!
//! So no identity names a disk that has none, and a directory that is made has
//! its databases: if one is gone, somebody took it.

mod agree;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use bytes::Bytes;

use crate::codec::{CodecError, NodeRecord, decode_node, encode_node};
use crate::engine::Kind;
use crate::error::OpenError;

pub(crate) use agree::{Agreed, Expected, agree};

/// The file's name.
pub(crate) const FILE: &str = "identity";
/// What it is called until it is whole.
const UNFINISHED: &str = "identity.new";

/// What a directory says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is empty, as far as we are concerned.
    Nothing,
    /// It has an identity.
    Identity(NodeRecord),
}

/// Reads a directory's identity.
///
/// # Errors
/// [`OpenError`] when it has none and should, or one that cannot be read.
pub(crate) fn read(dir: &Path) -> Result<Found, OpenError> {
    let path = dir.join(FILE);
    let record = match fs::read(&path) {
        Ok(record) => Bytes::from(record),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let has_data =
                [Kind::Raft, Kind::Data].iter().any(|kind| dir.join(kind.dir()).exists());
            if has_data {
                return Err(OpenError::IdentityMissing { path: dir.to_owned() });
            }
            return Ok(Found::Nothing);
        }
        Err(source) => return Err(OpenError::Io { action: "read", path, source }),
    };
    match decode_node(&record) {
        Ok(identity) => Ok(Found::Identity(identity)),
        Err(CodecError::Newer { found, supported }) => {
            Err(OpenError::NewerFormat { path: dir.to_owned(), found, supported })
        }
        Err(problem) => Err(OpenError::IdentityDamaged { path: dir.to_owned(), problem }),
    }
}

/// Writes a directory's identity: whole and durable, or not at all.
pub(crate) fn write(dir: &Path, identity: &NodeRecord) -> Result<(), OpenError> {
    let unfinished = dir.join(UNFINISHED);
    let path = dir.join(FILE);
    let written = (|| {
        let mut file = File::create(&unfinished)?;
        file.write_all(&encode_node(identity))?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        sync_dir(dir)
    })();
    written.map_err(|source| OpenError::Io { action: "write", path, source })
}

/// Makes a directory and all above it that are missing, durably.
pub(crate) fn make_dir(dir: &Path) -> Result<(), OpenError> {
    let made = (|| {
        let missing: Vec<_> = dir.ancestors().take_while(|dir| !is_there(dir)).collect();
        fs::create_dir_all(dir)?;
        for made in missing {
            match made.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent)?,
                _ => sync_dir(Path::new("."))?,
            }
        }
        Ok(())
    })();
    made.map_err(|source| OpenError::Io { action: "make directory", path: dir.to_owned(), source })
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The empty path stands for the current directory.
fn is_there(dir: &Path) -> bool {
    dir.as_os_str().is_empty() || dir.exists()
}
