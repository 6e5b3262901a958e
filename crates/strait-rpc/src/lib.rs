//! Typed calls over strait connections
