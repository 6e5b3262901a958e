//! Which memories belong together: the two sides of a connection have the same session.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    rc::Rc,
};

use super::{
    name::{Kind, Link, MemoryName},
    process::Process,
    scan::{Holding, MemoryId},
    sides::{Side, Sides},
};

/// What stays the same of a channel from one look to the next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ChannelId {
    /// A connection: two sides, of which one may be gone or unseen.
    Session { user_id: u32, service: String, session: u128 },
    /// Memory on its own.
    Memory(MemoryId),
}

/// One side of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) memory: MemoryId,
    /// Who holds it, the oldest first: its maker, before the children that inherited it.
    pub(crate) processes: Vec<Rc<Process>>,
}

/// What its memory says a channel is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Channel {
    pub(crate) id: ChannelId,
    /// The service's name; what stands there instead, where it is no name of ours.
    pub(crate) service: String,
    /// `None` where the name is none of ours.
    pub(crate) kind: Option<Kind>,
    pub(crate) session: Option<u128>,
    pub(crate) ends: Sides<Option<End>>,
    /// Why this can't be what its name says.
    pub(crate) doubt: Option<String>,
}

/// Memory with all its holders.
struct Held {
    link: Link,
    end: End,
}

/// What a connection has on one side: one memory, or more where somebody lies.
type Claims = Vec<(MemoryName, End)>;

/// Makes channels of what was found, in the order of their names.
pub(crate) fn pair(holdings: &[Holding]) -> Vec<Channel> {
    let mut channels = Vec::new();
    let mut sessions: BTreeMap<(u32, String, u128), Claims> = BTreeMap::new();
    for Held { link, end } in by_memory(holdings) {
        match link {
            Link::Named(name) if matches!(name.kind, Kind::Ring | Kind::Socket) => {
                let key = (end.memory.user_id, name.service.clone(), name.session);
                sessions.entry(key).or_default().push((name, end));
            }
            Link::Named(name) => channels.push(alone(name, end, None)),
            Link::Misnamed(text) => channels.push(misnamed(text, end)),
            Link::Other => {}
        }
    }
    channels.extend(sessions.into_iter().flat_map(|(key, claims)| connection(key, claims)));
    channels.sort_by(|a, b| (&a.service, &a.id).cmp(&(&b.service, &b.id)));
    channels
}

fn by_memory(holdings: &[Holding]) -> Vec<Held> {
    let mut memories: BTreeMap<MemoryId, Held> = BTreeMap::new();
    for Holding { memory, link, process } in holdings {
        match memories.entry(*memory) {
            Entry::Occupied(mut held) => held.get_mut().end.processes.push(process.clone()),
            Entry::Vacant(free) => {
                let end = End { memory: *memory, processes: vec![process.clone()] };
                free.insert(Held { link: link.clone(), end });
            }
        }
    }
    for held in memories.values_mut() {
        held.end.processes.sort_by_key(|process| (process.start_ticks, process.pid));
    }
    memories.into_values().collect()
}

/// The connection that claims to have this session; one channel for each claim where they contradict each other.
fn connection((user_id, service, session): (u32, String, u128), mut claims: Claims) -> Vec<Channel> {
    let claims_of = |claims: &Claims, side| claims.iter().filter(|(name, _)| name.side == side).count();
    drop_switched(&mut claims);
    if let Some(side) = Side::BOTH.into_iter().find(|&side| claims_of(&claims, side) > 1) {
        let count = claims_of(&claims, side);
        let doubt = format!("{count} memories say that they are the {} of this session", side.word());
        return claims.into_iter().map(|(name, end)| alone(name, end, Some(doubt.clone()))).collect();
    }
    let kind = if claims.iter().any(|(name, _)| name.kind == Kind::Ring) { Kind::Ring } else { Kind::Socket };
    let mut channel = Channel {
        id: ChannelId::Session { user_id, service: service.clone(), session },
        service,
        kind: Some(kind),
        session: Some(session),
        ends: Sides::default(),
        doubt: None,
    };
    for (name, end) in claims {
        *channel.ends.of_mut(name.side) = Some(end);
    }
    vec![channel]
}

/// While a process switches to shared memory it holds both its memories: the one for the socket is over.
fn drop_switched(claims: &mut Claims) {
    let maker = |end: &End| end.processes.first().map(|process| (process.pid, process.start_ticks));
    let rings: Vec<_> =
        claims.iter().filter(|(name, _)| name.kind == Kind::Ring).map(|(name, end)| (name.side, maker(end))).collect();
    claims.retain(|(name, end)| name.kind != Kind::Socket || !rings.contains(&(name.side, maker(end))));
}

fn alone(name: MemoryName, end: End, doubt: Option<String>) -> Channel {
    let mut channel = Channel {
        id: ChannelId::Memory(end.memory),
        service: name.service,
        kind: Some(name.kind),
        session: Some(name.session),
        ends: Sides::default(),
        doubt,
    };
    *channel.ends.of_mut(name.side) = Some(end);
    channel
}

fn misnamed(service: String, end: End) -> Channel {
    let doubt = Some("its name begins like those of strait and goes on like none".to_owned());
    let id = ChannelId::Memory(end.memory);
    let ends = Sides { client: None, server: Some(end) };
    Channel { id, service, kind: None, session: None, ends, doubt }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32) -> Rc<Process> {
        Rc::new(Process { pid, user_id: 1, start_ticks: pid.into(), command: String::new() })
    }

    /// Process `pid` holds memory `inode` of user 1 with this name.
    fn holds(pid: u32, inode: u64, kind: Kind, side: Side, session: u128) -> Holding {
        let name = MemoryName { kind, service: "orders".to_owned(), side, session };
        Holding { memory: MemoryId::of(inode, 1), link: Link::Named(name), process: process(pid) }
    }

    fn pids(end: &Option<End>) -> Vec<u32> {
        end.iter().flat_map(|end| &end.processes).map(|process| process.pid).collect()
    }

    #[test]
    fn the_two_sides_of_a_session_are_one_channel_whoever_was_found_first() {
        let server = holds(7, 1, Kind::Ring, Side::Server, 5);
        let client = holds(9, 2, Kind::Ring, Side::Client, 5);
        for holdings in [[server.clone(), client.clone()], [client, server]] {
            let channels = pair(&holdings);
            let [channel] = &channels[..] else { panic!("{channels:?}") };
            assert_eq!((channel.kind, &channel.doubt, channel.session), (Some(Kind::Ring), &None, Some(5)));
            assert_eq!((pids(&channel.ends.client), pids(&channel.ends.server)), (vec![9], vec![7]));
        }
    }

    #[test]
    fn a_side_that_several_processes_hold_begins_with_its_maker() {
        let channels = pair(&[holds(9, 1, Kind::Ring, Side::Server, 5), holds(7, 1, Kind::Ring, Side::Server, 5)]);
        assert_eq!((channels.len(), pids(&channels[0].ends.server)), (1, vec![7, 9]));
        assert_eq!(channels[0].ends.client, None);
    }

    #[test]
    fn sessions_of_other_services_and_users_stay_apart() {
        let one = holds(7, 1, Kind::Ring, Side::Server, 5);
        let mut of_another_user = holds(9, 2, Kind::Ring, Side::Client, 5);
        of_another_user.memory.user_id = 2;
        let mut of_another_name = holds(9, 3, Kind::Ring, Side::Client, 5);
        let Link::Named(name) = &mut of_another_name.link else { unreachable!() };
        name.service = "books".to_owned();
        let channels = pair(&[one, of_another_user, of_another_name, holds(9, 4, Kind::Ring, Side::Client, 6)]);
        assert_eq!(channels.len(), 4);
        assert_eq!(channels[0].service, "books");
    }

    #[test]
    fn memory_that_copies_a_session_is_shown_and_so_is_what_it_copies() {
        let channels = pair(&[
            holds(7, 1, Kind::Ring, Side::Server, 5),
            holds(9, 2, Kind::Ring, Side::Client, 5),
            holds(66, 3, Kind::Ring, Side::Client, 5),
        ]);
        assert_eq!(channels.len(), 3);
        let doubt = "2 memories say that they are the client of this session";
        assert!(channels.iter().all(|channel| channel.doubt.as_deref() == Some(doubt)));
        assert!(channels.iter().all(|channel| channel.ends.both().into_iter().flatten().count() == 1));
    }

    #[test]
    fn while_a_process_switches_its_ring_counts_and_anybody_else_s_counts_twice() {
        let switching = [
            holds(7, 1, Kind::Socket, Side::Server, 5),
            holds(9, 2, Kind::Socket, Side::Client, 5),
            holds(9, 3, Kind::Ring, Side::Client, 5),
        ];
        let channels = pair(&switching);
        let [channel] = &channels[..] else { panic!("{channels:?}") };
        assert_eq!(channel.kind, Some(Kind::Ring));
        assert_eq!(channel.ends.client.as_ref().unwrap().memory, MemoryId::of(3, 1));
        let [server, client, _] = switching;
        assert_eq!(pair(&[server, client, holds(66, 3, Kind::Ring, Side::Client, 5)]).len(), 3);
    }

    #[test]
    fn states_pins_and_strange_names_stand_alone() {
        let strange =
            Holding { link: Link::Misnamed("strait:x".to_owned()), ..holds(9, 3, Kind::Ring, Side::Client, 5) };
        let channels =
            pair(&[holds(7, 1, Kind::State, Side::Server, 5), holds(9, 2, Kind::Pin, Side::Client, 5), strange]);
        let kinds: Vec<_> = channels.iter().map(|channel| channel.kind).collect();
        assert_eq!(kinds, [Some(Kind::State), Some(Kind::Pin), None]);
        assert!(channels[2].doubt.is_some() && channels[2].service == "strait:x");
    }
}
