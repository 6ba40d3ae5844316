//! The applications, and how each is laid out for the contenders: as wheels, and as an installation has it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::environments::{output, target};
use crate::support::{Application, Python};

pub struct Subject {
    pub name: &'static str,
    version: (u32, u32),
    /// What is called.
    pub target: &'static str,
    /// The user's own code, as files.
    sources: &'static [(&'static str, &'static str)],
}

macro_rules! code {
    ($file:literal) => {
        include_str!(concat!("../../tests/applications/", $file))
    };
}

const DJANGO: &[(&str, &str)] = &[
    ("use_django.py", code!("use_django.py")),
    ("shop/__init__.py", ""),
    ("shop/settings.py", code!("shop_settings.py")),
    ("shop/models.py", code!("shop_models.py")),
];

macro_rules! subject {
    ($name:literal, $target:literal, $file:literal) => {
        Subject {
            name: $name,
            version: (3, 13),
            target: $target,
            sources: &[($file, code!($file))],
        }
    };
}

/// Each does what the tests of `applications` have it do; of two, which need more for that than themselves, the
/// import alone is measured.
pub const SUBJECTS: &[Subject] = &[
    Subject { name: "django", version: (3, 13), target: "use_django:work", sources: DJANGO },
    Subject { name: "django", version: (3, 9), target: "use_django:work", sources: DJANGO },
    subject!("requests", "use_requests:imported", "use_requests.py"),
    subject!("jinja2", "use_jinja2:work", "use_jinja2.py"),
    subject!("sqlalchemy", "use_sqlalchemy:work", "use_sqlalchemy.py"),
    subject!("rich", "use_rich:work", "use_rich.py"),
    subject!("click", "use_click:work", "use_click.py"),
    subject!("yaml", "use_yaml:work", "use_yaml.py"),
    subject!("attrs", "use_attrs:work", "use_attrs.py"),
    subject!("boltons", "use_boltons:work", "use_boltons.py"),
    subject!("pytest", "use_pytest:imported", "use_pytest.py"),
];

impl Subject {
    pub fn title(&self) -> String {
        format!("{}, Python {}.{}", self.name, self.version.0, self.version.1)
    }

    /// Nothing where the wheels cannot be had, which was said.
    pub fn prepare(&self) -> Result<Option<Layout>, String> {
        let wheels = Application::named(self.name).wheels();
        let wanted = wheels.into_iter().find(|(python, _)| python.version == self.version);
        let Some((python, wheels)) = wanted else {
            println!("{} is left out: there is no such Python, or no wheel", self.title());
            return Ok(None);
        };
        let name = format!("{}-{}.{}", self.name, self.version.0, self.version.1);
        let base = target().join("bench-modules").join(name);
        let (own, all) = (base.join("own"), base.join("all"));
        self.lay_out(python, &wheels, [&own, &all])
            .map_err(|error| format!("{}: {error}", base.display()))?;
        let shown = |path: &PathBuf| path.display().to_string();
        let wheels = wheels.iter().map(shown).collect();
        Ok(Some(Layout { python, wheels, own: shown(&own), all: shown(&all) }))
    }

    /// Makes both directories anew.
    fn lay_out(
        &self,
        python: &Python,
        wheels: &[PathBuf],
        directories: [&PathBuf; 2],
    ) -> Result<(), String> {
        const UNPACK: &str = "import sys, zipfile\n\
            for wheel in sys.argv[2:]:\n    \
            zipfile.ZipFile(wheel).extractall(sys.argv[1])";
        for directory in directories {
            if directory.exists() {
                fs::remove_dir_all(directory).map_err(|error| error.to_string())?;
            }
            for (file, text) in self.sources {
                let path = directory.join(file);
                let write = || {
                    fs::create_dir_all(path.parent().expect("it is in the directory"))?;
                    fs::write(&path, text)
                };
                write().map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
        let mut unpack = Command::new(&python.path);
        output(unpack.args(["-c", UNPACK]).arg(directories[1]).args(wheels)).map(drop)
    }
}

/// Where the files of a subject are.
pub struct Layout {
    pub python: &'static Python,
    pub wheels: Vec<String>,
    /// The user's own code.
    pub own: String,
    /// That, and what is in the wheels.
    pub all: String,
}
