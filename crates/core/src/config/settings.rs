/// An adapter's own table in the configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings;
