//! Lines from a child with ipc-channel.

use std::process::Command;

use ipc_channel::ipc::{self, IpcOneShotServer, IpcReceiver, IpcSender};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(name) = std::env::args().nth(1) {
        let (lines, receiver) = ipc::channel::<String>()?;
        IpcSender::<IpcReceiver<String>>::connect(name)?.send(receiver)?;
        for line in ["one", "two", "three"] {
            lines.send(line.to_owned())?;
        }
        return Ok(());
    }
    let (server, name) = IpcOneShotServer::<IpcReceiver<String>>::new()?;
    let mut child = Command::new(std::env::current_exe()?).arg(name).spawn()?;
    let (_, lines) = server.accept()?;
    while let Ok(line) = lines.recv() {
        println!("{line}"); // a child that is done and one that died look alike
    }
    child.wait()?;
    Ok(())
}
