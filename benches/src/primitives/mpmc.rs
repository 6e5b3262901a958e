//! From several threads to several.

use std::sync::Arc;

use strait_mpmc::{
    Queue,
    shared::{Geometry, Identity, Participant, SharedQueue},
};
use strait_spsc::slots;
use strait_sync::Heap;

use super::{
    Bench, Kind, Shape, Value,
    flow::{self, CAPACITY, PerProducer, Pop, Push},
};

/// A queue for several producers and several consumers, with room for [`CAPACITY`] items.
pub trait Mpmc: 'static {
    /// How it is called in the results.
    const NAME: &'static str;
    /// What a thread has of it.
    type Handle: Push<u64> + Pop<u64>;

    /// Makes one, with a handle for each thread.
    fn open(handles: usize) -> Vec<Self::Handle>;
}

const SHAPES: [(usize, Shape); 3] = [
    (1, Shape { title: "1 producer, 1 consumer", suffix: "", threads: 2 }),
    (2, Shape { title: "2 producers, 2 consumers", suffix: "-2+2", threads: 4 }),
    (4, Shape { title: "4 producers, 4 consumers", suffix: "-4+4", threads: 8 }),
];

/// Whether the server has a ring for each client or one queue for all.
const CLIENTS: usize = 4;
const CLIENTS_SHAPE: Shape = Shape { title: "4 clients, 1 server", suffix: "-4+1", threads: 5 };

fn bench<P: Push<u64>, C: Pop<u64>>(
    (engine, kind): (&'static str, Kind),
    shape: Shape,
    open: impl Fn() -> (Vec<P>, Vec<C>) + 'static,
) -> Bench {
    let run = Box::new(move |conditions: &super::Conditions| {
        let (producers, consumers) = open();
        let value = flow::items_per_s::<u64, PerProducer>(producers, consumers, false, conditions)?;
        Ok(vec![Value { metric: "items_per_s", value, unit: "1/s" }])
    });
    Bench { scenario: "mpmc", shape, engine, kind, payload_bytes: 8, run }
}

/// All that is measured of an engine.
pub fn all<E: Mpmc>(kind: Kind) -> Vec<Bench> {
    let benches = SHAPES.map(|(each, shape)| bench((E::NAME, kind), shape, move || halved::<E>(each, each)));
    benches.into()
}

fn halved<E: Mpmc>(producers: usize, consumers: usize) -> (Vec<E::Handle>, Vec<E::Handle>) {
    let mut handles = E::open(producers + consumers);
    let consumers = handles.split_off(producers);
    (handles, consumers)
}

pub(super) fn own() -> Vec<Bench> {
    let mut benches = all::<InProcess>(Kind::Ours);
    benches.extend(all::<Counting>(Kind::Ours));
    benches.extend(all::<BetweenProcesses>(Kind::Ours));
    benches.push(bench(("strait-spsc-per-client", Kind::Ours), CLIENTS_SHAPE, || {
        let rings = (0..CLIENTS).map(|_| slots::channel(CAPACITY).expect("a power of two"));
        let (producers, rings) = rings.collect();
        (producers, vec![InTurn { rings, turn: 0 }])
    }));
    let one_for_all = || halved::<InProcess>(CLIENTS, 1);
    benches.push(bench(("ablation-one-mpmc", Kind::Ablation), CLIENTS_SHAPE, one_for_all));
    benches
}

/// The queue of one process.
pub struct InProcess;

impl Mpmc for InProcess {
    const NAME: &'static str = "strait-mpmc";
    type Handle = Arc<Queue<u64>>;

    fn open(handles: usize) -> Vec<Self::Handle> {
        let queue = Arc::new(Queue::new(CAPACITY).expect("a power of two"));
        vec![queue; handles]
    }
}

/// The same with its statistics.
pub struct Counting;

impl Mpmc for Counting {
    const NAME: &'static str = "strait-mpmc-counting";
    type Handle = Arc<Queue<u64, true>>;

    fn open(handles: usize) -> Vec<Self::Handle> {
        let queue = Arc::new(Queue::counting(CAPACITY).expect("a power of two"));
        vec![queue; handles]
    }
}

impl<const COUNTED: bool> Push<u64> for Arc<Queue<u64, COUNTED>> {
    #[inline]
    fn try_push(&mut self, value: u64) -> bool {
        Queue::try_push(self, value).is_ok()
    }
}

impl<const COUNTED: bool> Pop<u64> for Arc<Queue<u64, COUNTED>> {
    #[inline]
    fn try_pop(&mut self) -> Option<u64> {
        Queue::try_pop(self).ok()
    }
}

/// The queue that processes share, with its journal.
pub struct BetweenProcesses;

impl Mpmc for BetweenProcesses {
    const NAME: &'static str = "strait-mpmc-shared";
    type Handle = Participant<Arc<Heap>>;

    fn open(handles: usize) -> Vec<Self::Handle> {
        let geometry = Geometry::new(CAPACITY as u64, 8, handles as u64).expect("a power of two");
        let memory = Arc::new(Heap::zeroed(geometry.total_bytes() as usize));
        let queue = SharedQueue::create(memory, geometry).expect("as long as its geometry says");
        (0..handles).map(|_| queue.attach(Identity::current()).expect("a line for each handle")).collect()
    }
}

impl Push<u64> for Participant<Arc<Heap>> {
    #[inline]
    fn try_push(&mut self, value: u64) -> bool {
        self.try_push_value(&value).is_ok()
    }
}

impl Pop<u64> for Participant<Arc<Heap>> {
    #[inline]
    fn try_pop(&mut self) -> Option<u64> {
        self.try_pop_value().ok()
    }
}

/// A consumer of several rings, which looks at each in turn.
struct InTurn {
    rings: Vec<slots::Consumer<u64>>,
    turn: usize,
}

impl Pop<u64> for InTurn {
    #[inline]
    fn try_pop(&mut self) -> Option<u64> {
        for _ in 0..self.rings.len() {
            if let Ok(value) = self.rings[self.turn].try_pop() {
                return Some(value);
            }
            self.turn = (self.turn + 1) % self.rings.len();
        }
        None
    }
}
