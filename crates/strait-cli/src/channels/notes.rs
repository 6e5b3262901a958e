//! What is said beside a table: what could not be looked at, and why there is nothing in it.

use crate::find::{Blind, Unseen};

/// What stands where no channel does.
pub(crate) const NOTHING: &str = "No channel is open. One shows here as soon as two processes talk through strait: \
     start a server and a client, such as `cargo xtask demo` in strait's repository. Channels inside one process, and \
     those of processes in other containers, are not seen from here.";

/// What could not be looked at; `None` where all was.
pub(crate) fn blind(blind: &Blind) -> Option<String> {
    let of = |(why, count): (&Unseen, &usize)| format!("{count} {}", why.what());
    let unseen = blind.unseen.iter().map(of).collect::<Vec<_>>().join(", ");
    let total: usize = blind.unseen.values().sum();
    let hidden = blind.hidden_by.as_ref().map(|option| format!("/proc hides processes of others ({option})"));
    let counted = (total > 0).then(|| {
        let processes = if total == 1 { "process" } else { "processes" };
        format!("{total} {processes} not inspected: {unseen}")
    });
    match (counted, hidden) {
        (Some(counted), Some(hidden)) => Some(format!("{counted}; {hidden}")),
        (one, other) => one.or(other),
    }
}

/// What to do about each kind of what could not be looked at.
pub(crate) fn remedies(blind: &Blind) -> Vec<String> {
    let of = |why: &Unseen| format!("{}: {}", why.what(), why.remedy());
    let hidden = blind.hidden_by.as_ref().map(|option| format!("hidden by {option}: run this command as root"));
    blind.unseen.keys().map(of).chain(hidden).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_seen_is_said_with_its_reason() {
        assert_eq!((blind(&Blind::default()), remedies(&Blind::default())), (None, Vec::new()));
        let mut some = Blind { hidden_by: Some("hidepid=2".to_owned()), ..Blind::default() };
        assert_eq!(blind(&some).unwrap(), "/proc hides processes of others (hidepid=2)");
        some.unseen.insert(Unseen::OtherUser, 1);
        let one = "1 process not inspected: 1 of another user; /proc hides processes of others (hidepid=2)";
        assert_eq!(blind(&some).unwrap(), one);
        some.unseen.insert(Unseen::NotDumpable, 2);
        assert!(blind(&some).unwrap().starts_with("3 processes not inspected: 1 of another user, 2 not dumpable;"));
        let remedies = remedies(&some);
        assert_eq!(remedies.len(), 3);
        assert!(remedies[0].starts_with("of another user: run") && remedies[2].starts_with("hidden by hidepid=2: "));
    }
}
