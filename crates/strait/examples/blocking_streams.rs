//! One request, many answers, on threads: the server is asked for an iterator, and the client is given one.

use strait::rpc::{
    Error, Request,
    blocking::{Methods, Proxy, Server},
};

fn main() -> Result<(), Error> {
    let methods = Methods::new().stream("primes", |below: Request<u64>| {
        let is_prime = |number: &u64| !(2..=number.isqrt()).any(|divisor| number.is_multiple_of(divisor));
        (2..below.to_native()).filter(is_prime).map(|prime| {
            println!("server: {prime}");
            Ok::<u64, String>(prime)
        })
    });
    let server = Server::bind("blocking-streams-example")?;
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.serve_methods(methods));

    let service: Proxy = Proxy::connect("blocking-streams-example")?;
    let primes = service.stream::<u64, u64>("primes", &u64::MAX)?;
    for prime in primes.take(50) {
        println!("client: {}", prime?.to_native()); // the server is 32 items ahead at most
    } // the stream is dropped here, and the server looks for no more of them

    handle.shutdown();
    thread.join().expect("the server does not panic")
}
