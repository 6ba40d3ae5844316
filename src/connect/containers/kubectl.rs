//! A child in a container of a Kubernetes pod.

use super::super::options::{Options, common_options, tool_options};
use super::super::{Method, Plan, Tool};
use super::Words;

/// A context in a container of a pod, by way of the cluster that kubectl is configured for.
///
/// Its argv is `kubectl exec --stdin [--context CONTEXT] [--namespace NAMESPACE] [--container CONTAINER]
/// ARGS.. POD -- COMMAND..`. Kubernetes has no way to say whose process it is to be: it is the container's user's.
#[derive(Clone, Debug)]
pub struct Kubectl {
    pod: String,
    context: Option<String>,
    namespace: Option<String>,
    container: Option<String>,
    options: Options,
}

common_options!(Kubectl);
tool_options!(Kubectl, "kubectl", kubectl_path);

impl Kubectl {
    /// A context in this pod, or in one of `deployment/NAME`, `service/NAME` and so on. The name of the context
    /// is `kubectl.<pod>`.
    pub fn new(pod: impl Into<String>) -> Kubectl {
        Kubectl {
            pod: pod.into(),
            context: None,
            namespace: None,
            container: None,
            options: Options::default(),
        }
    }

    /// The context of kubectl's configuration, which says what cluster it is and who we are: `--context`.
    /// Default: the current one.
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.context = Some(context.into());
        self
    }

    /// The namespace of the pod: `--namespace`. Default: that of kubectl's context.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Which of the pod's containers: `--container`. Default: the one that the pod says, or its first.
    pub fn container(mut self, container: impl Into<String>) -> Self {
        self.container = Some(container.into());
        self
    }

    fn tool(&self) -> Result<Tool, String> {
        let words = Words::of("kubectl", &self.options)
            .add(["exec", "--stdin"])
            .option("--context", self.context.as_ref())
            .option("--namespace", self.namespace.as_ref())
            .option("--container", self.container.as_ref())
            .add(&self.options.args)
            .operand("a pod", &self.pod)?;
        Ok(words.add(["--"]).tool())
    }
}

impl Method for Kubectl {
    fn plan(&self) -> Plan {
        self.options.plan(|| format!("kubectl.{}", self.pod), self.tool())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::words;
    use super::*;

    #[test]
    fn the_words() {
        let plain = Kubectl::new("web-0");
        assert_eq!(plain.plan().name, "kubectl.web-0");
        assert_eq!(words(plain), "kubectl exec --stdin web-0 -- python3");
        let full = Kubectl::new("deployment/web")
            .context("prod")
            .namespace("shop")
            .container("app")
            .args(["--request-timeout", "9s"]);
        assert_eq!(
            words(full),
            "kubectl exec --stdin --context prod --namespace shop --container app \
             --request-timeout 9s deployment/web -- python3"
        );
    }
}
