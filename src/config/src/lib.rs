//! The configuration file: wire form, checked model, diagnostics.
//!
//! [`Config::default`] is what the server does without a file. [`Config::load`] reads a file and
//! tells everything that is wrong with it at once, each with file, line and column; command-line
//! options are then laid over the model and [`Config::lint`] looks at the result again.
#![forbid(unsafe_code)]

mod classifier;
mod diagnostic;
mod duration;
mod events;
mod identity;
mod interface;
mod lint;
mod listen;
mod load;
mod memory;
mod menu;
mod model;
mod pattern;
pub mod place;
mod policy;
mod provider;
mod rate;
mod rule;
mod shape;
mod store;
mod subnet;
mod suggest;
mod url;
mod windows;
mod wire;

pub use classifier::{BANNED_MAX, Banned, ClassName, ClassRule, Classifier, PacketRate};
pub use diagnostic::{Diagnostic, Place, Severity};
pub use duration::Span;
pub use events::{Collector, EventsConfig};
pub use identity::IdentityConfig;
pub use interface::{InterfaceChoice, InterfaceIs};
pub use lint::{Finding, entry_name_problem};
pub use listen::{Listen, ListenAt, ListenError, Listener};
pub use load::{Loaded, Rejected};
pub use memory::{Memory, Pin, parse_pin};
pub use menu::{Colour, ColourPair, ItemAction, MenuColours, MenuConfig, MenuItem, MenuLock};
pub use model::{
    Boot, Config, DataPorts, Driver, KernelTls, LocalBoot, LogFormat, Machine, Pacing, Scheme,
    Tftp, Tls, UefiOffer, Xdp, parse_data_ports,
};
pub use pattern::{GuidPattern, MacPattern};
pub use policy::{AnswerTo, Peers, PolicyConfig, PolicyPlace, Prompt, PromptPolicy, RequestFrom};
pub use provider::{
    ApprovalConfig, AskedAt, ConfigMgrConfig, ConfigMgrSource, ExecCommand, ExecConfig, FailureIs,
    ProviderConfig, ProviderKind, ReferralConfig, SqlConfig, WebhookConfig,
};
pub use rate::Rate;
pub use rule::{BootChoice, PlanConfig, Rule};
pub use store::{StoreConfig, without_password};
pub use subnet::Subnet;
pub use windows::{Signing, WindowsBoot};
