//! LXD's words, which are those of Incus, too.

use super::super::Tool;
use super::super::options::Options;
use super::Words;

/// What one of the two is told.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) current_dir: Option<std::ffi::OsString>,
}

impl Instance {
    pub(super) fn new(name: String) -> Instance {
        Instance { name, uid: None, gid: None, current_dir: None }
    }

    pub(super) fn tool(
        &self,
        program: &str,
        options: &Options,
        hint: &'static str,
    ) -> Result<Tool, String> {
        let words = Words::of(program, options)
            .add(["exec", "--mode=non-interactive"])
            .option("--user", self.uid.map(|uid| uid.to_string()))
            .option("--group", self.gid.map(|gid| gid.to_string()))
            .option("--cwd", self.current_dir.as_ref())
            .add(&options.args)
            .operand("an instance", &self.name)?;
        Ok(words.add(["--"]).tool().with_hint(hint))
    }
}

/// Makes a method of it. `$hint` is what the program needs, which it does not always say when it fails.
macro_rules! instance_method {
    ($(#[$doc:meta])* $method:ident, $name:literal, $program:literal, $path:ident, $hint:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $method {
            instance: super::instance::Instance,
            options: super::super::options::Options,
        }

        super::super::options::common_options!($method);
        super::super::options::tool_options!($method, $program, $path);

        impl $method {
            #[doc = concat!(
                "A context in the instance of this name, with `REMOTE:` in front if need be. The name of the ",
                "context is `", $name, ".<instance>`."
            )]
            pub fn new(instance: impl Into<String>) -> Self {
                $method {
                    instance: super::instance::Instance::new(instance.into()),
                    options: super::super::options::Options::default(),
                }
            }

            /// The number, in the instance, of the user whose process it is to be: `--user`. Default: 0.
            pub fn uid(mut self, uid: u32) -> Self {
                self.instance.uid = Some(uid);
                self
            }

            /// The number, in the instance, of the group: `--group`. Default: 0.
            pub fn gid(mut self, gid: u32) -> Self {
                self.instance.gid = Some(gid);
                self
            }

            /// The working directory, a path in the instance: `--cwd`. Default: `/root`, else `/`.
            pub fn current_dir(mut self, dir: impl Into<std::ffi::OsString>) -> Self {
                self.instance.current_dir = Some(dir.into());
                self
            }
        }

        impl super::super::Method for $method {
            fn plan(&self) -> super::super::Plan {
                let name = || format!("{}.{}", $name, self.instance.name);
                self.options.plan(name, self.instance.tool($program, &self.options, $hint))
            }
        }
    };
}
pub(super) use instance_method;
