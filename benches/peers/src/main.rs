//! The benchmarks with other libraries beside ours, in the same run.

mod iceoryx2;
mod io_uring;
mod ipc_channel;
mod mmap_sync;
mod mpmc;
mod shmem_ipc;
mod snapshot;
mod spsc;
mod tarpc;
mod tonic;

use std::process::ExitCode;

use strait_benches::Peers;

fn main() -> ExitCode {
    let held = strait_benches::main(Peers {
        primitives: [spsc::peers(), mpmc::peers(), snapshot::peers()].into_iter().flatten().collect(),
        round_trips: [
            iceoryx2::round_trips(),
            io_uring::round_trips(),
            ipc_channel::round_trips(),
            tonic::round_trips(),
            tarpc::round_trips(),
        ]
        .into_iter()
        .flatten()
        .collect(),
        one_way: [iceoryx2::one_way(), ipc_channel::one_way(), shmem_ipc::one_way()].into_iter().flatten().collect(),
        latest: mmap_sync::latest(),
        lossy: iceoryx2::lossy(),
    });
    iceoryx2::sweep();
    held
}
