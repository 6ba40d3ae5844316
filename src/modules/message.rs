//! `LOAD_MODULE` as it travels: `(name, names of children, path, compressed, related)`.
//!
//! Not here: what is sent when. Absent: all but the name are None. What a message may hold is in the functions.

use std::sync::Arc;

use super::{Module, store};
use crate::pickle::{EncodeError, Encoder};

/// A module or a package. `related`: modules that surely have gone, or will go, down the same stream.
pub(super) fn module(module: &Module, related: &[String]) -> Result<Vec<u8>, EncodeError> {
    let Module { name, pkg_present, path, compressed, .. } = module;
    message(name, pkg_present.as_deref(), path, compressed, related)
}

/// There is no such module or file.
pub(super) fn absent(name: &str) -> Result<Vec<u8>, EncodeError> {
    let mut data = Vec::new();
    let mut encoder = Encoder::new(&mut data);
    encoder.tuple(5, |to| {
        to.text(name)?;
        (0..4).for_each(|_| to.none());
        Ok(())
    })?;
    encoder.finish();
    Ok(data)
}

/// A module whose import fails with the reason: "no such module" would have no room for it. It is known by its
/// path, `<name!>`.
pub(super) fn raising(name: &str, problem: &str) -> Result<Vec<u8>, EncodeError> {
    let text: String = problem.chars().filter(|c| !c.is_control()).collect();
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    let source = format!("# -*- coding: utf-8 -*-\nraise ImportError(\"{text}\")\n");
    message(name, None, &format!("<{name}!>"), &store::compress(source.as_bytes()), &[])
}

/// What can be imported at the top level: the children of the package without a name.
pub(super) fn roots(names: &[String]) -> Result<Vec<u8>, EncodeError> {
    message("", Some(names), "", &[], &[])
}

/// What is in a directory of a package.
pub(super) fn listing(name: &str, path: &str, entries: &[String]) -> Result<Vec<u8>, EncodeError> {
    message(name, Some(entries), path, &[], &[])
}

/// The first or a further piece of a data file; `further` are the names under which the others are asked for.
pub(super) fn piece(
    name: &str,
    path: &str,
    bytes: &[u8],
    further: &[String],
) -> Result<Vec<u8>, EncodeError> {
    let compressed: Arc<[u8]> = store::compress(bytes);
    message(name, None, path, &compressed, further)
}

/// A data file that is there and cannot be read.
pub(super) fn unreadable(name: &str, problem: &str) -> Result<Vec<u8>, EncodeError> {
    message(name, None, problem, &[], &[])
}

fn message(
    name: &str,
    children: Option<&[String]>,
    path: &str,
    compressed: &[u8],
    related: &[String],
) -> Result<Vec<u8>, EncodeError> {
    let mut data = Vec::with_capacity(compressed.len() + 256);
    let mut encoder = Encoder::new(&mut data);
    encoder.tuple(5, |to| {
        to.text(name)?;
        match children {
            Some(children) => to.list(children, |to, child| to.text(child))?,
            None => to.none(),
        }
        to.text(path)?;
        to.bytes(compressed)?;
        to.list(related, |to, other| to.text(other))
    })?;
    encoder.finish();
    Ok(data)
}
