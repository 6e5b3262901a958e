//! What scripts get: one object with all channels, and what could not be looked at.

use std::rc::Rc;

use serde_json::{Value, json};
use strait::transport::{Stats, observe::Reading};

use super::{
    counter::COUNTERS,
    flow::Flow,
    row::{EndRow, Row},
    symptom::Symptom,
};
use crate::find::{Blind, Process, Side};

/// All that a look has found.
pub(crate) fn document(rows: &[&Row], blind: &Blind) -> Value {
    let unseen: serde_json::Map<_, _> =
        blind.unseen.iter().map(|(why, count)| (why.word().to_owned(), json!(count))).collect();
    json!({
        "channels": rows.iter().copied().map(channel).collect::<Vec<_>>(),
        "processes_not_inspected": unseen,
        "processes_hidden_by": blind.hidden_by,
    })
}

fn channel(row: &Row) -> Value {
    let symptom =
        |symptom: &Symptom| json!({ "name": symptom.word(), "advice": symptom.advice(), "page": symptom.page() });
    json!({
        "service": row.service,
        "kind": row.kind_word(),
        "transport": row.transport_word(),
        "session": row.session.map(|session| format!("{session:032x}")),
        "client": row.end(Side::Client).map(end),
        "server": row.end(Side::Server).map(end),
        "messages_per_s": row.flow().map(|flow| flow.messages_per_s),
        "bytes_per_s": row.flow().map(|flow| flow.bytes_per_s),
        "messages_per_wake": row.flow().and_then(|flow| flow.messages_per_wake()),
        "occupancy": row.occupancy(),
        "high_water": row.high_water(),
        "idle_s": row.idle.map(|idle| idle.as_secs_f64()),
        "client_to_server": row.flows().map(|flows| rates(&flows.client)),
        "server_to_client": row.flows().map(|flows| rates(&flows.server)),
        "trouble": row.trouble,
        "symptoms": row.symptoms.iter().map(symptom).collect::<Vec<_>>(),
    })
}

fn rates(flow: &Flow) -> Value {
    json!({
        "messages_per_s": flow.messages_per_s,
        "bytes_per_s": flow.bytes_per_s,
        "failed_claims_per_s": flow.failed_claims_per_s,
        "full_waits_per_s": flow.full_waits_per_s,
        "empty_waits_per_s": flow.empty_waits_per_s,
        "wakes_per_s": flow.wakes_per_s,
        "bad_messages_per_s": flow.bad_messages_per_s,
    })
}

fn end(end: &EndRow) -> Value {
    let process =
        |process: &Rc<Process>| json!({ "pid": process.pid, "user_id": process.user_id, "command": process.command });
    let mut object = json!({ "processes": end.processes.iter().map(process).collect::<Vec<_>>() });
    match &end.view {
        Err(reason) => object["error"] = json!(reason),
        Ok(view) => {
            object["memory_bytes"] = json!(view.total_bytes);
            object["ring_capacity_bytes"] = json!(view.capacity_bytes);
            object["max_message_bytes"] = json!(view.max_message_bytes);
            object["occupied_bytes"] = json!(view.occupied_bytes);
            match &view.reading {
                Reading::End(reading) => {
                    object["sleeps_for_data"] = json!(reading.sleeps_for_data);
                    object["sleeps_for_space"] = json!(reading.sleeps_for_space);
                    object["closed"] = json!(reading.closed);
                    object["counters"] = counters(&reading.stats);
                }
                Reading::State(state) => {
                    object["version"] = json!(state.stats.version);
                    object["published"] = json!(state.stats.published);
                    object["published_bytes"] = json!(state.stats.published_bytes);
                    object["readers"] = json!(state.stats.readers);
                    object["pins"] = json!(state.stats.pins);
                }
                Reading::Pin(pin) => object["slot"] = json!(pin.slot),
                _ => {}
            }
        }
    }
    object
}

fn counters(stats: &Stats) -> Value {
    let mut object: serde_json::Map<_, _> =
        COUNTERS.iter().map(|counter| (counter.key.to_owned(), json!((counter.of)(stats)))).collect();
    object.insert("high_water_bytes".to_owned(), json!(stats.high_water_bytes));
    object.insert("in_flight".to_owned(), json!(stats.in_flight));
    object.insert("last_error".to_owned(), json!(stats.last_error.to_string()));
    Value::Object(object)
}
