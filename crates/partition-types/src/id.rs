//! Identifiers. Each has a type of its own, so that none is taken for another.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// A value that is no identifier of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct InvalidId {
    /// The field as it is called on the wire and in the configuration.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

macro_rules! numeric_id {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Takes a number above 0.
            ///
            /// # Errors
            /// [`InvalidId`] for 0, which means "unset" on the wire.
            pub const fn new(id: u64) -> Result<Self, InvalidId> {
                if id == 0 {
                    return Err(InvalidId { field: $field, problem: "must be above 0" });
                }
                Ok(Self(id))
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl TryFrom<u64> for $name {
            type Error = InvalidId;

            fn try_from(id: u64) -> Result<Self, InvalidId> {
                Self::new(id)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let id = text
                    .parse()
                    .map_err(|_| InvalidId { field: $field, problem: "must be a whole number" })?;
                Self::new(id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

numeric_id!(
    /// A node of the cluster; unique in it and never used again.
    NodeId,
    "node_id"
);
numeric_id!(
    /// A partition; unique in the cluster.
    PartitionId,
    "partition_id"
);
numeric_id!(
    /// An extent; unique in its partition and never used again.
    ExtentId,
    "extent_id"
);

/// Names one attempt to change something, so that a repeat is known as such.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// Length in bytes.
    pub const LEN: usize = 16;

    /// Takes 16 bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads the optional field of a request: empty means none.
    ///
    /// # Errors
    /// [`InvalidId`] when it is neither empty nor 16 bytes long.
    pub fn from_wire(bytes: &[u8]) -> Result<Option<Self>, InvalidId> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let bytes = bytes
            .try_into()
            .map_err(|_| InvalidId { field: "request_id", problem: "must be 16 bytes long" })?;
        Ok(Some(Self(bytes)))
    }

    /// A fresh one: time-ordered, random in its tail (UUID version 7).
    #[must_use]
    pub fn random() -> Self {
        Self(*Uuid::now_v7().as_bytes())
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).fmt(f)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

/// One life of a node's data directory: a wiped disk is another incarnation
/// and never taken for the voter it was.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(Uuid);

impl Incarnation {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::now_v7())
    }

    /// Takes 16 bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Reads the field of a message.
    ///
    /// # Errors
    /// [`InvalidId`] when it is not 16 bytes long.
    pub fn from_wire(bytes: &[u8]) -> Result<Self, InvalidId> {
        Uuid::from_slice(bytes)
            .map(Self)
            .map_err(|_| InvalidId { field: "incarnation", problem: "must be 16 bytes long" })
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({self})")
    }
}

/// The cluster's name: 1 to 64 characters of `a-z A-Z 0-9 . _ -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClusterId(String);

impl ClusterId {
    /// The longest name, in bytes.
    pub const LEN_MAX: usize = 64;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClusterId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = |problem| Err(InvalidId { field: "cluster_id", problem });
        if text.is_empty() || text.len() > Self::LEN_MAX {
            return invalid("must be 1 to 64 characters long");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            return invalid("may only have letters, digits, '.', '_' and '-'");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
