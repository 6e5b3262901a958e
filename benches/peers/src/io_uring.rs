//! A Unix stream socket through io_uring: sending a message and waiting for the next one is one system call, where write and read are two.

use std::os::{
    fd::AsRawFd,
    unix::net::{UnixListener, UnixStream},
};

use io_uring::{IoUring, opcode, squeue, types};
use strait_benches::{Call, Meeting, Outcome, RoundTrip};

pub(crate) fn round_trips() -> Vec<RoundTrip> {
    vec![RoundTrip { name: "unix-stream-uring", max_clients: 1, serve, connect }]
}

const SEND: u64 = 1;
const RECEIVE: u64 = 2;

/// A socket and the ring that works for it alone.
struct Wire {
    ring: IoUring,
    socket: UnixStream,
}

impl Wire {
    fn new(socket: UnixStream) -> std::io::Result<Self> {
        // Completions are handled by who waits for them, which saves an interrupt of it (Linux 6.1).
        let ring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(4)?;
        Ok(Self { ring, socket })
    }

    /// Sends `message`, where there is one, and then fills `buffer`.
    fn turn(&mut self, message: Option<&[u8]>, buffer: &mut [u8]) -> Outcome<()> {
        let socket = types::Fd(self.socket.as_raw_fd());
        let receive = opcode::Recv::new(socket, buffer.as_mut_ptr(), buffer.len() as u32);
        let receive = receive.flags(libc::MSG_WAITALL).build().user_data(RECEIVE);
        let send = message.map(|bytes| {
            let send = opcode::Send::new(socket, bytes.as_ptr(), bytes.len() as u32).flags(libc::MSG_WAITALL);
            send.build().user_data(SEND).flags(squeue::Flags::IO_LINK)
        });
        let expected = 1 + usize::from(send.is_some());
        for entry in send.into_iter().chain([receive]) {
            // SAFETY: socket and bytes are borrowed until all that was pushed is completed, below.
            unsafe { self.ring.submission().push(&entry)? };
        }
        let mut completed = 0;
        let mut failed = None;
        while completed < expected {
            self.ring.submit_and_wait(expected - completed)?;
            for entry in self.ring.completion() {
                completed += 1;
                let wanted = if entry.user_data() == SEND { message.map_or(0, <[u8]>::len) } else { buffer.len() };
                if entry.result() != wanted as i32 {
                    failed = Some((entry.user_data(), entry.result()));
                }
            }
        }
        match failed {
            None => Ok(()),
            // The peer is gone.
            Some((RECEIVE, 0..)) => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
            Some((_, 0..)) => Err("a message was sent in part".into()),
            Some((_, error)) => Err(std::io::Error::from_raw_os_error(-error).into()),
        }
    }
}

fn serve(meeting: &Meeting<'_>) -> Outcome<()> {
    let mut wire = Wire::new(UnixListener::bind(meeting.dir.join("socket"))?.accept()?.0)?;
    let (mut request, mut answer) = (vec![0; meeting.payload_bytes], vec![0; meeting.payload_bytes]);
    wire.turn(None, &mut request)?;
    loop {
        std::mem::swap(&mut request, &mut answer);
        wire.turn(Some(meeting.answer.to(&answer, &mut [0; 8])), &mut request)?;
    }
}

fn connect(meeting: &Meeting<'_>) -> Outcome<Call> {
    let mut wire = Wire::new(UnixStream::connect(meeting.dir.join("socket"))?)?;
    let mut buffer = vec![0; meeting.answer_bytes()];
    Ok(Box::new(move |payload, reply| {
        wire.turn(Some(payload), &mut buffer)?;
        reply(&buffer);
        Ok(())
    }))
}
