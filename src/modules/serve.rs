//! The answer to a child's `GET_MODULE`.

use super::{Found, Module, Modules};
use crate::peer::Peer;
use crate::pickle;
use crate::router::LOAD_MODULE;
use crate::stream::{Patience, Refused};
use crate::{Level, Value};

/// Answers one request. There is always an answer: a module that cannot be had is answered as such. What
/// there is to say of it is said before the answer leaves, so that the log has it first.
pub(crate) fn serve(
    modules: &Modules,
    peer: &Peer,
    request: &[u8],
    limits: &pickle::Limits,
    say: impl Fn(Level, String),
) {
    let name = match pickle::decode(request, limits) {
        Ok(Value::Text(name)) => name,
        Ok(Value::Bytes(name)) => String::from_utf8_lossy(&name).into_owned(),
        Ok(_) | Err(_) => return say(Level::Error, "a request for a module without a name".into()),
    };
    let message = match modules.find(&name).within(limits.message) {
        Found::Module(module) => {
            let bytes = module.compressed.len();
            say(Level::Debug, format!("module {name} served: {} ({bytes} bytes)", module.path));
            load_module(module)
        }
        Found::Missing => {
            say(Level::Debug, format!("module {name} is not served"));
            missing(name)
        }
        Found::Refused(problem) => {
            say(Level::Error, format!("module {name} cannot be served: {problem}"));
            load_module(raising(name, &problem))
        }
    };
    match pickle::encode(&message).map(|data| peer.send(LOAD_MODULE, 0, data, Patience::None)) {
        Err(error) => say(Level::Error, error.to_string()),
        // Who asked is gone, and everybody knows it.
        Ok(Ok(()) | Err(Refused::Ended(_) | Refused::TimedOut)) => {}
    }
}

impl Found {
    /// What would not fit into a message cannot be served.
    fn within(self, limit: usize) -> Found {
        let Found::Module(module) = &self else { return self };
        let names = module.pkg_present.iter().flatten().map(|name| name.len() + 8).sum::<usize>();
        let bytes = module.compressed.len() + names + module.path.len() + module.name.len() + 64;
        if bytes <= limit {
            return self;
        }
        Found::Refused(format!("{bytes} bytes, more than the {limit} of max_message_bytes"))
    }
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
        imports: Default::default(),
    }
}

fn missing(name: String) -> Value {
    let mut fields = vec![Value::Text(name)];
    fields.resize(5, Value::None);
    Value::Tuple(fields)
}
