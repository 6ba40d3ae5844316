//! The answer to a child's `GET_MODULE`.

use super::{Found, Module, Modules};
use crate::Value;
use crate::peer::Peer;
use crate::pickle;
use crate::router::LOAD_MODULE;
use crate::stream::{Patience, Refused};

/// Answers one request. There is always an answer: a module that cannot be had is answered as such. The
/// error is for the log as well.
pub(crate) fn serve(
    modules: &Modules,
    peer: &Peer,
    request: &[u8],
    limits: &pickle::Limits,
) -> Result<(), String> {
    let name = match pickle::decode(request, limits) {
        Ok(Value::Text(name)) => name,
        Ok(Value::Bytes(name)) => String::from_utf8_lossy(&name).into_owned(),
        Ok(_) | Err(_) => return Err("a request for a module without a name".into()),
    };
    let (message, problem) = match modules.find(&name) {
        Found::Module(module) => (load_module(module), None),
        Found::Missing => (missing(name), None),
        Found::Refused(problem) => (load_module(raising(name, &problem)), Some(problem)),
    };
    let data = pickle::encode(&message).map_err(|error| error.to_string())?;
    match peer.send(LOAD_MODULE, 0, data, Patience::None) {
        // Who asked is gone, and everybody knows it.
        Ok(()) | Err(Refused::Ended(_) | Refused::TimedOut) => {}
    }
    problem.map_or(Ok(()), Err)
}

fn load_module(module: Module) -> Value {
    let names = |names: Vec<String>| Value::List(names.into_iter().map(Value::Text).collect());
    Value::Tuple(vec![
        Value::Text(module.name),
        module.pkg_present.map_or(Value::None, names),
        Value::Text(module.path),
        Value::Bytes(module.compressed.to_vec()),
        names(Vec::new()),
    ])
}

/// A module whose import fails with the reason: "no such module" would have no room for it.
fn raising(name: String, problem: &str) -> Module {
    let text: String = problem.chars().filter(|c| !c.is_control()).collect();
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    let source = format!("# -*- coding: utf-8 -*-\nraise ImportError(\"{text}\")\n");
    Module {
        path: format!("<{name}>"),
        name,
        pkg_present: None,
        compressed: super::store::compress(source.as_bytes()),
    }
}

fn missing(name: String) -> Value {
    let mut fields = vec![Value::Text(name)];
    fields.resize(5, Value::None);
    Value::Tuple(fields)
}
