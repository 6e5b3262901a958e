//! The third level of trust: archives are read in the ring as they are, without a look at whether they are valid.

use strait::{
    HonestPeer, Options, ValidArchives,
    rpc::{
        Error, Receive, Request,
        blocking::{Client, Server},
    },
};

fn main() -> Result<(), Error> {
    // SAFETY: both ends are this very program, which never writes a message again once it is sent.
    let honest = unsafe { HonestPeer::assume() };
    // SAFETY: as above, and each end reads a message as the type that the other wrote.
    let valid = unsafe { ValidArchives::assume() };
    let options = Options { receive: Receive::InPlaceUnvalidated(honest, valid), ..Options::default() };
    let server = Server::bind_with("unvalidated-example", &options)?;
    let handle = server.handle();
    let longest = |words: Request<Vec<String>>| {
        let longest = words.iter().max_by_key(|word| word.len()).ok_or("no words")?;
        Ok::<String, &str>(longest.to_string())
    };
    let thread = std::thread::spawn(move || server.serve(longest));

    let client: Client<Vec<String>, String> = Client::connect_with("unvalidated-example", &options)?;
    let words = ["claim", "commit", "publish", "abort"].map(str::to_owned).to_vec();
    for _ in 0..3 {
        let reply = client.call(&words)?;
        println!("{} over {}", *reply, reply.transport());
    }

    handle.shutdown();
    thread.join().expect("the server does not panic")
}
