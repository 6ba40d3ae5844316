//! An interpreter with its standard library and nothing else.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::{Python, TempDir};

impl Python {
    /// The same interpreter without what is installed for it: a copy, with links to its standard library.
    ///
    /// It finds its library beside itself, as a virtual environment of old did, so that it also finds it when
    /// it executes itself again; with `-S` what is installed would be back then.
    pub fn without_packages(&self, dir: &TempDir) -> Python {
        let output =
            Command::new(&self.path).args(["-Sc", "import os; print(os.__file__)"]).output();
        let file = String::from_utf8(output.expect("an interpreter").stdout).expect("a path");
        let library = Path::new(file.trim()).parent().expect("the library's directory");
        let name = library.file_name().expect("as it is under lib/");
        let prefix = dir.path().join(&self.name);
        let (programs, bare) = (prefix.join("bin"), prefix.join("lib").join(name));
        fs::create_dir_all(&programs).expect("a directory in a fresh one");
        fs::create_dir_all(&bare).expect("a directory in a fresh one");
        for entry in fs::read_dir(library).expect("the library") {
            let entry = entry.expect("an entry");
            if !entry.file_name().to_string_lossy().ends_with("-packages") {
                symlink(entry.path(), bare.join(entry.file_name())).expect("a fresh directory");
            }
        }
        let path = programs.join(&self.name);
        fs::copy(&self.path, &path).expect("a program that we may read");
        Python { path, ..self.clone() }
    }
}
