//! A modelled stream socket: bytes, and memory that comes with them.

use std::{collections::VecDeque, io, task::Waker};

use strait_sync::{
    Heap,
    primitive::{Arc, Condvar, Mutex},
};

/// Memory that came with bytes.
pub(crate) type Fd = Arc<Heap>;
/// Memory that goes with bytes.
pub(crate) type FdRef<'a> = &'a Arc<Heap>;

/// What one receive brought besides bytes.
#[derive(Default)]
pub(crate) struct Ancillary {
    pub(crate) fds: Vec<Fd>,
    pub(crate) pidfd: Option<Fd>,
    pub(crate) truncated: bool,
}

/// One end of a modelled socket.
#[derive(Clone)]
pub(crate) struct Socket {
    pub(crate) kernel: Arc<Kernel>,
    /// 0 or 1.
    pub(crate) end: usize,
}

/// Both ends, behind one lock as real ones are.
pub(crate) struct Kernel {
    pub(crate) state: Mutex<State>,
    /// Anything that a sleeper may wait for has changed.
    pub(crate) changed: Condvar,
}

pub(crate) struct State {
    pub(crate) ends: [End; 2],
    /// Room for bytes, each way.
    pub(crate) room_bytes: usize,
    /// An end was shut down.
    pub(crate) gone: bool,
}

/// What is on its way to an end, and who waits there.
#[derive(Default)]
pub(crate) struct End {
    pub(crate) bytes: VecDeque<u8>,
    /// Each with the place of its byte in `bytes`.
    riders: VecDeque<(usize, Fd)>,
    pub(crate) kicked: bool,
    pub(crate) waker: Option<Waker>,
}

/// Two ends that hold `room_bytes` each way.
pub(crate) fn pair(room_bytes: usize) -> (Socket, Socket) {
    let state = State { ends: Default::default(), room_bytes, gone: false };
    let kernel = Arc::new(Kernel { state: Mutex::new(state), changed: Condvar::new() });
    (Socket { kernel: kernel.clone(), end: 0 }, Socket { kernel, end: 1 })
}

impl Kernel {
    /// Makes a change and wakes both ends.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let (result, wakers) = {
            let mut state = self.state.lock();
            let result = change(&mut state);
            (result, state.ends.each_mut().map(|end| end.waker.take()))
        };
        self.changed.notify_all();
        wakers.into_iter().flatten().for_each(Waker::wake);
        result
    }
}

pub(crate) fn send(socket: &Socket, bytes: &[u8], fd: Option<FdRef<'_>>) -> io::Result<usize> {
    socket.kernel.change(|state| {
        if state.gone {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let end = &mut state.ends[1 - socket.end];
        let sent = bytes.len().min(state.room_bytes - end.bytes.len());
        if sent == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        end.riders.extend(fd.map(|fd| (end.bytes.len(), fd.clone())));
        end.bytes.extend(&bytes[..sent]);
        Ok(sent)
    })
}

pub(crate) fn receive(socket: &Socket, bytes: &mut [u8], ancillary: &mut Ancillary) -> io::Result<usize> {
    let nothing = || Err(io::ErrorKind::WouldBlock.into());
    {
        let state = socket.kernel.state.lock();
        if state.ends[socket.end].bytes.is_empty() {
            return if state.gone { Ok(0) } else { nothing() };
        }
    }
    socket.kernel.change(|state| {
        let end = &mut state.ends[socket.end];
        // As the real one does, it stops where the next descriptor comes.
        let next = end.riders.iter().map(|(at, _)| *at).find(|at| *at > 0);
        let received = bytes.len().min(next.unwrap_or(end.bytes.len()));
        for (place, byte) in bytes.iter_mut().zip(end.bytes.drain(..received)) {
            *place = byte;
        }
        while end.riders.front().is_some_and(|(at, _)| *at < received) {
            ancillary.fds.extend(end.riders.pop_front().map(|(_, fd)| fd));
        }
        end.riders.iter_mut().for_each(|(at, _)| *at -= received);
        Ok(received)
    })
}

pub(crate) fn receive_bytes(socket: &Socket, bytes: &mut [u8]) -> io::Result<usize> {
    receive(socket, bytes, &mut Ancillary::default())
}

pub(crate) fn lacks_memory(_: &io::Error) -> bool {
    false
}
