//! Clusters of real `serve` child processes.
