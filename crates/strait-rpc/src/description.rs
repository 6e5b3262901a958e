//! What a service says of itself: its methods, and how it is.

use serde::{Deserialize, Serialize};
use strait_frame::Codec;

use crate::{encode::schema, error::Code, header::METHODS_RESERVED, refused::Refused};

/// What a method does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MethodKind {
    /// One request, one reply.
    Call,
    /// One request, a stream of items.
    Stream,
    /// A message to the server that nobody answers.
    Notification,
    /// A message from the server that nobody answers.
    Event,
}

/// One method of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodInfo {
    /// By which it is called.
    pub name: String,
    /// Its number on the wire.
    pub id: u16,
    /// What it does with a message.
    pub kind: MethodKind,
    /// The number by which two ends find out that their types differ.
    pub schema: u64,
    /// Whether it can be called with JSON, by who does not know its types.
    pub json: bool,
}

/// A service as it describes itself: what [`Proxy::describe`](crate::blocking::Proxy::describe) returns.
///
/// ```
/// use strait_rpc::Methods;
///
/// let methods = Methods::new()
///     .call_json("double", |number: strait_rpc::Request<u64>| async move { Ok::<u64, String>(number.to_native() * 2) })
///     .document("Doubles numbers.");
/// let description = methods.description();
/// assert_eq!(description.methods[0].name, "double");
/// assert!(description.methods[0].json);
/// assert_eq!(description.document.as_deref(), Some("Doubles numbers."));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Its methods, in the order of their numbers.
    pub methods: Vec<MethodInfo>,
    /// What its author says of it: prose, or a schema in whatever language its users understand.
    pub document: Option<String>,
}

impl Description {
    /// A service of one method that has no name.
    pub(crate) fn of_one<C, Req, Resp>() -> Self
    where
        C: Codec<Req> + Codec<Resp>,
    {
        let (name, kind, schema) = (String::new(), MethodKind::Call, schema::<C, Req, Resp>());
        Self { methods: vec![MethodInfo { name, id: 0, kind, schema, json: false }], document: None }
    }

    /// Adds a method.
    pub(crate) fn add(&mut self, name: &str, kind: MethodKind, schema: u64, json: bool) {
        assert!(self.method(name).is_none(), "there is a method {name:?} already");
        assert!(self.methods.len() < usize::from(METHODS_RESERVED), "a service has at most 65,280 methods");
        let id = self.methods.len() as u16;
        self.methods.push(MethodInfo { name: name.to_owned(), id, kind, schema, json });
    }

    /// The method of that number.
    pub(crate) fn find(&self, id: u16) -> Result<&MethodInfo, Refused> {
        self.methods.get(usize::from(id)).ok_or_else(|| {
            let text = format!("there are {} methods, the call is for number {id}", self.methods.len());
            Refused::new(Code::UNKNOWN_METHOD, text)
        })
    }

    /// Whether the service sends anything by itself.
    pub(crate) fn has_events(&self) -> bool {
        self.methods.iter().any(|method| method.kind == MethodKind::Event)
    }

    /// The method of that name.
    pub fn method(&self, name: &str) -> Option<&MethodInfo> {
        self.methods.iter().find(|method| method.name == name)
    }
}

/// How a service is: what a health check returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// Whether it takes new calls; `false` once it shuts down.
    pub serving: bool,
    /// Clients that are connected, the one that asks among them.
    pub clients: u64,
    /// Calls that it has begun since it started.
    pub calls: u64,
    /// How long it has been serving, in milliseconds.
    pub uptime_ms: u64,
}
