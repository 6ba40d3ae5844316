//! A child in a container that Buildah builds an image from.

use std::ffi::OsString;

use super::super::options::{Options, common_options, tool_options};
use super::super::{Method, Plan, Tool};
use super::Words;

/// A context in a working container of Buildah's: what it changes there is in the image that `buildah commit`
/// makes of it.
///
/// Its argv is `buildah run [--user USER] [--workingdir DIR] ARGS.. CONTAINER -- COMMAND..`.
#[derive(Clone, Debug)]
pub struct Buildah {
    container: String,
    user: Option<OsString>,
    current_dir: Option<OsString>,
    global_args: Vec<OsString>,
    options: Options,
}

common_options!(Buildah);
tool_options!(Buildah, "buildah", buildah_path);

impl Buildah {
    /// A context in the working container of this name or id: what `buildah from` has printed. The name of the
    /// context is `buildah.<container>`.
    pub fn new(container: impl Into<String>) -> Buildah {
        Buildah {
            container: container.into(),
            user: None,
            current_dir: None,
            global_args: Vec::new(),
            options: Options::default(),
        }
    }

    /// Whose process it is to be, a name or a number, with `:group` if need be: `--user`. Default: the
    /// container's own.
    pub fn user(mut self, user: impl Into<OsString>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// The working directory, a path in the container: `--workingdir`. Default: the container's own.
    pub fn current_dir(mut self, dir: impl Into<OsString>) -> Self {
        self.current_dir = Some(dir.into());
        self
    }

    /// Arguments for `buildah` itself, in front of `run`: where its store is, say.
    pub fn global_args<I>(mut self, args: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        self.global_args.extend(args.into_iter().map(Into::into));
        self
    }

    fn tool(&self) -> Result<Tool, String> {
        let words = Words::of("buildah", &self.options)
            .add(&self.global_args)
            .add(["run"])
            .option("--user", self.user.as_ref())
            .option("--workingdir", self.current_dir.as_ref())
            .add(&self.options.args)
            .operand("a container", &self.container)?;
        Ok(words.add(["--"]).tool())
    }
}

impl Method for Buildah {
    fn plan(&self) -> Plan {
        self.options.plan(|| format!("buildah.{}", self.container), self.tool())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::words;
    use super::*;

    #[test]
    fn the_words() {
        let plain = Buildah::new("working-container");
        assert_eq!(plain.plan().name, "buildah.working-container");
        assert_eq!(words(plain), "buildah run working-container -- python3");
        let full = Buildah::new("c")
            .global_args(["--root", "/x"])
            .user("app")
            .current_dir("/srv")
            .args(["--network", "none"]);
        assert_eq!(
            words(full),
            "buildah --root /x run --user app --workingdir /srv --network none c -- python3"
        );
    }
}
