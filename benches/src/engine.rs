//! Engines: what is measured, and the two processes that it runs in.

use std::{
    error::Error,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Peers, clients, connections,
    cost::{Cost, Meter},
    floors, instructions, pin, queue, rpc,
    runner::Plan,
    slow, state,
    stream::{self, OneWay},
    wake,
};

/// One engine with one payload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Engine {
    pub(crate) scenario: String,
    pub(crate) name: String,
    pub(crate) payload_bytes: usize,
}

/// What a process is told to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Role {
    pub(crate) engine: Engine,
    pub(crate) side: Side,
    pub(crate) cores: (usize, usize),
    pub(crate) millis: u64,
    /// Where both sides meet: a directory, or a path to shared memory.
    pub(crate) meet: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Side {
    Client,
    Server,
}

/// What a client measured: every round trip in nanoseconds, summed up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) rtt_p50: f64,
    pub(crate) rtt_p99: f64,
    pub(crate) rtt_p999: f64,
    pub(crate) rtt_max: f64,
    pub(crate) requests_per_s: f64,
    pub(crate) messages: usize,
    /// Of client and server together.
    pub(crate) cost: Cost,
    pub(crate) transport: String,
}

/// Round trips while time lasts.
pub(crate) struct Samples<'a> {
    nanos: Vec<u32>,
    meter: Meter<'a>,
    start: Instant,
    until: Instant,
}

impl<'a> Samples<'a> {
    /// Collects for `millis` from now on, between these processes.
    pub(crate) fn collect(millis: u64, processes: &'a [u32]) -> std::io::Result<Self> {
        let nanos = Vec::with_capacity(8 << 20);
        let meter = Meter::start(processes)?;
        let start = Instant::now();
        Ok(Self { nanos, meter, start, until: start + Duration::from_millis(millis) })
    }

    /// Times one round trip; `false` once the time is over.
    #[inline]
    pub(crate) fn add(&mut self, begin: Instant) -> bool {
        let end = Instant::now();
        self.nanos.push(u32::try_from((end - begin).as_nanos()).unwrap_or(u32::MAX));
        end < self.until && self.nanos.len() < self.nanos.capacity()
    }

    pub(crate) fn summed_up(mut self, transport: String) -> std::io::Result<Measured> {
        let elapsed = self.start.elapsed().as_secs_f64();
        let cost = self.meter.cost(self.nanos.len() as u64)?;
        self.nanos.sort_unstable();
        let count = self.nanos.len();
        let at = |share: f64| f64::from(self.nanos[((count - 1) as f64 * share) as usize]);
        Ok(Measured {
            rtt_p50: at(0.5),
            rtt_p99: at(0.99),
            rtt_p999: at(0.999),
            rtt_max: at(1.0),
            requests_per_s: count as f64 / elapsed,
            messages: count,
            cost,
            transport,
        })
    }
}

/// Runs one side, in a process of its own; the client prints what it measured.
pub(crate) fn run_role(role: &str, peers: &Peers) -> ExitCode {
    let role: Role = match serde_json::from_str(role) {
        Ok(role) => role,
        Err(error) => {
            eprintln!("error: --role is not a role: {error}");
            return ExitCode::from(2);
        }
    };
    let unpinned = match role.engine.scenario.as_str() {
        "clients" => Some(clients::run_role(&role, &peers.round_trips)),
        "connections" => Some(connections::run_role(&role, &peers.round_trips)),
        "queue" => Some(queue::run_role(&role)),
        "slow" => Some(slow::run_role(&role, &lossy_too(peers))),
        "instructions" => Some(instructions::run_role(&role)),
        "stream" => Some(stream::run_role(&role, &peers.one_way)),
        "state" => Some(state::run_role(&role, &peers.latest)),
        _ => None,
    };
    if let Some(outcome) = unpinned {
        return match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {}: {error}", role.engine.name);
                ExitCode::FAILURE
            }
        };
    }
    let on_first = role.side == Side::Client || role.engine.name.ends_with(wake::ONE_CORE);
    let core = if on_first { role.cores.0 } else { role.cores.1 };
    if let Err(error) = pin::to(core) {
        eprintln!("error: cannot pin to core {core}: {error}; choose two with --cores");
        return ExitCode::FAILURE;
    }
    let outcome = match role.engine.scenario.as_str() {
        "floor" => floors::run(&role),
        "wake" if wake::is_floor(&role.engine.name) => wake::run(&role),
        _ => rpc::run(&role, &peers.round_trips),
    };
    match outcome {
        Ok(Some(measured)) => {
            println!("{}", serde_json::to_string(&measured).unwrap_or_default());
            ExitCode::SUCCESS
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}: {error}", role.engine.name);
            ExitCode::FAILURE
        }
    }
}

/// Ways of one direction, with those that lose messages.
pub(crate) fn lossy_too(peers: &Peers) -> Vec<OneWay> {
    peers.one_way.iter().chain(&peers.lossy).copied().collect()
}

/// The other side's process, killed when dropped.
pub(crate) struct Peer(Child);

impl Peer {
    /// Starts the server that belongs to a client.
    pub(crate) fn start(role: &Role, meet: String) -> std::io::Result<Self> {
        let server = Role { engine: role.engine.clone(), side: Side::Server, meet, ..*role };
        spawn(&server, Stdio::null(), Stdio::null()).map(Self)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// This process and the other one.
    pub(crate) fn both(&self) -> [u32; 2] {
        [std::process::id(), self.id()]
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts one side.
pub(crate) fn spawn(role: &Role, stdin: Stdio, stdout: Stdio) -> std::io::Result<Child> {
    let role = serde_json::to_string(role)?;
    Command::new(std::env::current_exe()?).args(["--role", &role]).stdin(stdin).stdout(stdout).spawn()
}

/// Runs an engine's client in a directory of their own; it starts its server, and prints what it measured.
pub(crate) fn run_client<T: DeserializeOwned>(plan: &Plan, engine: Engine) -> Result<T, Box<dyn Error>> {
    let meet = std::env::temp_dir().join(format!("strait-bench-{}-{}", engine.scenario, std::process::id()));
    let role = Role {
        engine,
        side: Side::Client,
        cores: plan.cores,
        millis: plan.millis,
        meet: meet.to_string_lossy().into_owned(),
    };
    std::fs::create_dir_all(&meet)?;
    std::fs::set_permissions(&meet, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let output = spawn(&role, Stdio::null(), Stdio::piped()).and_then(Child::wait_with_output);
    let _ = std::fs::remove_dir_all(&meet);
    let output = output?;
    if !output.status.success() {
        return Err(format!("its client ended with {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
