//! Shared-memory IPC: the facade over the strait crates
