--- crux confirm: confirms a cancellation, as a supplier.
-- @module crux.cli.commands.confirm
return require "crux.cli.decide" "confirm"
