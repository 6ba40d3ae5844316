//! Docker's words, which are Podman's, too.

use std::ffi::OsString;

use super::super::Tool;
use super::super::options::Options;
use super::Words;

/// Where the child is to be.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// In a container that runs.
    Container(String),
    /// In a new one, of this image, which lives as long as the child.
    Image(String),
}

/// What one of the two is told.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    pub(super) place: Place,
    pub(super) user: Option<OsString>,
    pub(super) current_dir: Option<OsString>,
    pub(super) global_args: Vec<OsString>,
}

impl Engine {
    pub(super) fn new(place: Place) -> Engine {
        Engine { place, user: None, current_dir: None, global_args: Vec::new() }
    }

    /// The context's name.
    pub(super) fn name(&self, program: &str) -> String {
        let (Place::Container(name) | Place::Image(name)) = &self.place;
        format!("{program}.{name}")
    }

    pub(super) fn tool(&self, program: &str, options: &Options) -> Result<Tool, String> {
        let words = Words::of(program, options).add(&self.global_args);
        let words = match self.place {
            Place::Container(_) => words.add(["exec", "--interactive"]),
            // What the image would run stands aside: it is seldom one that runs a command.
            Place::Image(_) => words.add(["run", "--interactive", "--rm", "--entrypoint", ""]),
        };
        let words = words
            .option("--user", self.user.as_ref())
            .option("--workdir", self.current_dir.as_ref())
            .add(&options.args);
        let words = match &self.place {
            Place::Container(name) => words.operand("a container", name)?,
            Place::Image(name) => words.operand("an image", name)?,
        };
        Ok(words.tool())
    }
}

/// Makes a method of it.
macro_rules! engine_method {
    ($(#[$doc:meta])* $method:ident, $program:literal, $path:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $method {
            engine: super::engine::Engine,
            options: super::super::options::Options,
        }

        super::super::options::common_options!($method);
        super::super::options::tool_options!($method, $program, $path);

        impl $method {
            #[doc = concat!(
                "A context in the container of this name or id, which runs. The name of the context is `",
                $program, ".<container>`."
            )]
            pub fn new(container: impl Into<String>) -> Self {
                Self::at(super::engine::Place::Container(container.into()))
            }

            #[doc = concat!(
                "A context in a new container of this image, which is removed when the context ends. What ",
                "the image would run (its entrypoint) does not run. The name of the context is `",
                $program, ".<image>`."
            )]
            pub fn image(image: impl Into<String>) -> Self {
                Self::at(super::engine::Place::Image(image.into()))
            }

            fn at(place: super::engine::Place) -> Self {
                $method {
                    engine: super::engine::Engine::new(place),
                    options: super::super::options::Options::default(),
                }
            }

            /// Whose process it is to be, a name or a number, with `:group` if need be: `--user`. Default:
            /// the container's own.
            pub fn user(mut self, user: impl Into<std::ffi::OsString>) -> Self {
                self.engine.user = Some(user.into());
                self
            }

            /// The working directory, a path in the container: `--workdir`. Default: the container's own.
            pub fn current_dir(mut self, dir: impl Into<std::ffi::OsString>) -> Self {
                self.engine.current_dir = Some(dir.into());
                self
            }

            #[doc = concat!(
                "Arguments for `", $program, "` itself, in front of `exec` or `run`: which daemon or ",
                "store it uses, say."
            )]
            pub fn global_args<I>(mut self, args: I) -> Self
            where
                I: IntoIterator,
                I::Item: Into<std::ffi::OsString>,
            {
                self.engine.global_args.extend(args.into_iter().map(Into::into));
                self
            }
        }

        impl super::super::Method for $method {
            fn plan(&self) -> super::super::Plan {
                let name = || self.engine.name($program);
                self.options.plan(name, self.engine.tool($program, &self.options))
            }
        }
    };
}
pub(super) use engine_method;
