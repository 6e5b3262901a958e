//! The name that strait gives its memory: `strait:<kind>:<service>:<side>:<session>`.

use super::{clean::clean, sides::Side};

/// How the kernel shows a memfd among a process's descriptors.
const PREFIX: &[u8] = b"/memfd:";
/// What it says behind it: memory of this kind has no place in a directory.
const SUFFIX: &[u8] = b" (deleted)";
/// How every name of ours begins.
const OURS: &[u8] = b"strait:";
/// The longest name that memfd_create(2) takes.
const MAX_NAME_CHARS: usize = 249;

/// What kind of memory a name speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// One side of a connection in shared memory.
    Ring,
    /// One side of a connection that is still on its socket: counters alone.
    Socket,
    /// A published state.
    State,
    /// Where a client shows which value of a state it reads in place.
    Pin,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Ring, Self::Socket, Self::State, Self::Pin];

    /// What stands in a name.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Socket => "socket",
            Self::State => "state",
            Self::Pin => "pin",
        }
    }
}

/// What memory says of itself by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryName {
    pub(crate) kind: Kind,
    pub(crate) service: String,
    pub(crate) side: Side,
    pub(crate) session: u128,
}

/// What the target of a link in /proc/PID/fd says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// Something else.
    Other,
    /// Memory whose name begins as ours do, and goes on as none does. Fit to be shown.
    Misnamed(String),
    /// Memory with a name of ours.
    Named(MemoryName),
}

/// Reads the target of a link. It is what its process wants it to be.
pub(crate) fn read(target: &[u8]) -> Link {
    let Some(name) = target.strip_prefix(PREFIX).filter(|name| name.starts_with(OURS)) else { return Link::Other };
    let name = name.strip_suffix(SUFFIX).unwrap_or(name);
    parse(name).map_or_else(|| Link::Misnamed(clean(name, MAX_NAME_CHARS)), Link::Named)
}

fn parse(name: &[u8]) -> Option<MemoryName> {
    let name = std::str::from_utf8(name).ok()?;
    let mut parts = name.split(':').skip(1);
    let [kind, service, side, session] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let kind = Kind::ALL.into_iter().find(|of| of.word() == kind)?;
    strait::transport::check_name(service).ok()?;
    let side = Side::BOTH.into_iter().find(|of| of.word() == side)?;
    let is_hex = session.len() == 32 && session.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let session = u128::from_str_radix(session, 16).ok().filter(|_| is_hex)?;
    parts.next().is_none().then(|| MemoryName { kind, service: service.to_owned(), side, session })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "000102030405060708090a0b0c0d0e0f";

    fn link(name: &str) -> Link {
        read(format!("/memfd:{name} (deleted)").as_bytes())
    }

    #[test]
    fn the_name_of_each_kind_of_memory_is_read() {
        for (word, kind) in [("ring", Kind::Ring), ("socket", Kind::Socket), ("state", Kind::State), ("pin", Kind::Pin)]
        {
            for (of, side) in [("client", Side::Client), ("server", Side::Server)] {
                let named = link(&format!("strait:{word}:orders.1:{of}:{SESSION}"));
                let session = 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f;
                let expected = MemoryName { kind, service: "orders.1".to_owned(), side, session };
                assert_eq!(named, Link::Named(expected));
            }
        }
    }

    #[test]
    fn what_is_no_memory_of_ours_is_left_alone() {
        let others: [&[u8]; 5] =
            [b"/dev/null", b"socket:[1234]", b"pipe:[1]", b"/memfd:wayland (deleted)", b"/tmp/strait:ring"];
        for other in others {
            assert_eq!(read(other), Link::Other);
        }
    }

    #[test]
    fn a_name_that_only_begins_like_ours_is_told_and_cleaned() {
        let wrong = [
            "strait:".to_owned(),
            "strait:ring".to_owned(),
            format!("strait:gift:orders:client:{SESSION}"),
            format!("strait:ring:.hidden:client:{SESSION}"),
            format!("strait:ring::client:{SESSION}"),
            format!("strait:ring:orders:nobody:{SESSION}"),
            format!("strait:ring:orders:client:{}", &SESSION[1..]),
            format!("strait:ring:orders:client:+{}", &SESSION[1..]),
            format!("strait:ring:orders:client:{}", SESSION.to_uppercase()),
            format!("strait:ring:orders:client:{SESSION}:more"),
        ];
        for name in wrong {
            assert_eq!(link(&name), Link::Misnamed(name));
        }
        let Link::Misnamed(shown) = link("strait:ring:\x1b]0;title\x07") else { panic!("no name of ours") };
        assert_eq!(shown, "strait:ring:·]0;title·");
        assert!(matches!(read(b"/memfd:strait:\xff\xfe"), Link::Misnamed(_)));
    }
}
