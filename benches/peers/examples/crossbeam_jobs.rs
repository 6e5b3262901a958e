//! Jobs for two threads with crossbeam-channel.

fn main() {
    let (sender, receiver) = crossbeam_channel::bounded::<String>(64);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let receiver = receiver.clone();
            scope.spawn(move || {
                for job in receiver {
                    println!("{job}");
                }
            });
        }
        for job in ["one", "two", "three"] {
            sender.send(job.to_owned()).unwrap();
        }
        drop(sender); // ends the threads
    });
}
