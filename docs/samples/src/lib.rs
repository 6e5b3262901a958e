//! The Rust samples of the pages under `docs/`, each a doctest of the module that is named like its page.
//!
//! `cargo xtask tidy` finds a page with Rust in it that is missing here. What is TOML on those pages, and whether the two programs of "Start
//! here" are what the page shows, is in `tests/`.
#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../../guide/start-here.md")]
mod start_here {}

#[cfg(doctest)]
#[doc = include_str!("../../guide/which-channel.md")]
mod which_channel {}

#[cfg(doctest)]
#[doc = include_str!("../../guide/trust-levels.md")]
mod trust_levels {}

#[cfg(doctest)]
#[doc = include_str!("../../guide/rolling-out.md")]
mod rolling_out {}

#[cfg(doctest)]
#[doc = include_str!("../../guide/settings.md")]
mod settings {}

#[cfg(doctest)]
#[doc = include_str!("../../guide/containers.md")]
mod containers {}

#[cfg(doctest)]
#[doc = include_str!("../../guide/observing.md")]
mod observing {}

#[cfg(doctest)]
#[doc = include_str!("../../guide/coming-from-iceoryx2.md")]
mod coming_from_iceoryx2 {}

#[cfg(doctest)]
#[doc = include_str!("../../guide/coming-from-ipc-channel.md")]
mod coming_from_ipc_channel {}

#[cfg(doctest)]
#[doc = include_str!("../../guide/coming-from-grpc.md")]
mod coming_from_grpc {}

#[cfg(doctest)]
#[doc = include_str!("../../guide/coming-from-crossbeam.md")]
mod coming_from_crossbeam {}
