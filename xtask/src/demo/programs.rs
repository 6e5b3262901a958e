//! The two programs of the demo, built.

use std::path::PathBuf;

use serde_json::Value;

use crate::{failure::Failure, run};

/// Where the two programs are.
pub(super) struct Programs {
    pub(super) exchange: PathBuf,
    pub(super) trader: PathBuf,
}

impl Programs {
    /// Builds both, optimised.
    pub(super) fn build() -> Result<Self, Failure> {
        let mut command = run::cargo(&["build", "--release", "-p", "strait-demo", "--bins"]);
        let messages = run::output(command.arg("--message-format=json-render-diagnostics"))?;
        let find = |name: &str| {
            executable(&messages, name)
                .ok_or_else(|| Failure::DidNotHold(format!("cargo did not say where it built `{name}`")))
        };
        Ok(Self { exchange: find("exchange")?, trader: find("trader")? })
    }
}

/// The path of the program `name` among cargo's messages.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|message| message["target"]["name"] == name && message["executable"].is_string())
        .and_then(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"trader"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"trader"},"executable":"/x/trader"}
not json
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages, "trader"), Some(PathBuf::from("/x/trader")));
        assert_eq!(executable(messages, "exchange"), None);
    }
}
