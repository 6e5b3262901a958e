//! The two trust decisions, as tokens that only `unsafe` can make.

/// Says that the peer is honest: it never writes bytes that it has committed and that are not yet released.
///
/// Every in-place receive, and every opening of memory that is not sealed, asks for this token. Without it a receive
/// copies, which is sound for any peer.
///
/// ```
/// # use strait_sync::HonestPeer;
/// // SAFETY: both ends of this channel are built from this very program and run under one account.
/// let trust = unsafe { HonestPeer::assume() };
/// # let _ = trust;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct HonestPeer(());

impl HonestPeer {
    /// Makes the token.
    ///
    /// # Safety
    ///
    /// Whoever maps the memory writable must keep to the protocol: committed bytes stay as they are until the reader has
    /// released them. A peer that breaks it changes bytes behind a `&[u8]`, which is undefined behaviour here.
    #[allow(unsafe_code)]
    pub const unsafe fn assume() -> Self {
        Self(())
    }
}

/// Says that the peer only sends archives that its own serialiser made, so that they need no validation.
///
/// ```
/// # use strait_sync::ValidArchives;
/// // SAFETY: the peer is this same program, and nothing between us can alter a message.
/// let trust = unsafe { ValidArchives::assume() };
/// # let _ = trust;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ValidArchives(());

impl ValidArchives {
    /// Makes the token.
    ///
    /// # Safety
    ///
    /// Every message that is received under this token must be a valid archive of the type that it is read as, with each value
    /// behind a pointer where its type's alignment wants it. One that is not is undefined behaviour when it is read.
    #[allow(unsafe_code)]
    pub const unsafe fn assume() -> Self {
        Self(())
    }
}
