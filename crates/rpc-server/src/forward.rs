//! Sends a call once to the node that leads the partition.
