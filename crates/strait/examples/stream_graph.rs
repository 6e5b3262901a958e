//! A graph of four nodes: numbers -> squares -> odd ones -> their sum.
//!
//! `cargo run --release --example stream_graph [--shared]`. The nodes are the same code either way; the switch decides whether each
//! is a thread and its edges lie inside this process, or each is a process and its edges lie in shared memory.

use std::{
    env,
    error::Error,
    process::{Child, Command},
    thread,
    time::Duration,
};

use strait::stream::{self, Config, Consumer, Endpoint, Plain, Producer};

type Input = Consumer<u64, Plain>;
type Output = Producer<u64, Plain>;

const COUNT: u64 = 100_000;

fn numbers(mut output: Output) -> Result<(), stream::Error> {
    (0..COUNT).try_for_each(|number| output.send(&number).map(drop))?;
    output.finish(Duration::from_secs(5))
}

fn squares(mut input: Input, mut output: Output) -> Result<(), stream::Error> {
    while let Some(number) = input.recv()? {
        output.send(&(*number * *number))?;
    }
    output.finish(Duration::from_secs(5))
}

fn odd(mut input: Input, mut output: Output) -> Result<(), stream::Error> {
    while let Some(number) = input.recv()? {
        if *number % 2 == 1 {
            output.send(&number)?;
        }
    }
    output.finish(Duration::from_secs(5))
}

fn sum(mut input: Input) -> Result<u64, stream::Error> {
    let mut sum = 0;
    while let Some(number) = input.recv()? {
        sum += *number;
    }
    Ok(sum)
}

/// Each node but the last connects its output to the next, which listens.
fn play(node: &str, edges: &[String; 3]) -> Result<(), stream::Error> {
    let config = Config::default();
    let listen = |edge: &str| Input::bind(edge, &config)?.accept_timeout(Duration::from_secs(10));
    let connect = |edge: &str| connected(edge, &config);
    match node {
        "numbers" => numbers(connect(&edges[0])?),
        "squares" => {
            let input = Input::bind(&edges[0], &config)?;
            squares(input.accept_timeout(Duration::from_secs(10))?, connect(&edges[1])?)
        }
        _ => odd(listen(&edges[1])?, connect(&edges[2])?),
    }
}

/// Connects as soon as the next node listens.
fn connected(edge: &str, config: &Config) -> Result<Output, stream::Error> {
    for _ in 0..2000 {
        if let Ok(output) = Output::connect(edge, config) {
            return Ok(output);
        }
        thread::sleep(Duration::from_millis(2));
    }
    Output::connect(edge, config)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let total = match arguments[..] {
        [] => in_process()?,
        ["--shared"] => between_processes()?,
        ["--node", node, graph] => return Ok(play(node, &edges(graph))?),
        _ => return Err("usage: stream_graph [--shared]".into()),
    };
    let expected: u64 = (0..COUNT).filter(|number| number % 2 == 1).map(|number| number * number).sum();
    assert_eq!(total, expected);
    let place = if arguments.is_empty() { "in one process" } else { "in four processes" };
    println!("four nodes {place}: the sum is {total}");
    Ok(())
}

fn in_process() -> Result<u64, Box<dyn Error>> {
    let config = Config::default();
    let ((to_squares, from_numbers), (to_odd, from_squares), (to_sum, from_odd)) =
        (stream::local(&config)?, stream::local(&config)?, stream::local(&config)?);
    let nodes = [
        thread::spawn(move || numbers(to_squares)),
        thread::spawn(move || squares(from_numbers, to_odd)),
        thread::spawn(move || odd(from_squares, to_sum)),
    ];
    let total = sum(from_odd)?;
    for node in nodes {
        node.join().map_err(|_| "a node panicked")??;
    }
    Ok(total)
}

fn between_processes() -> Result<u64, Box<dyn Error>> {
    let graph = format!("graph-{}", std::process::id());
    let last = Input::bind(&edges(&graph)[2], &Config::default())?;
    let start = |node: &&str| Command::new(env::current_exe()?).args(["--node", node, &graph]).spawn();
    let nodes: Vec<Child> = ["odd", "squares", "numbers"].iter().map(start).collect::<Result<_, _>>()?;
    let total = sum(last.accept_timeout(Duration::from_secs(10))?)?;
    for mut node in nodes {
        assert!(node.wait()?.success());
    }
    Ok(total)
}

fn edges(graph: &str) -> [String; 3] {
    [1, 2, 3].map(|edge| format!("{graph}-{edge}"))
}
