"""Where weights come from: model hubs, folders, single files, LoRAs, the graphs of a release."""
