--- crux reject: rejects a cancellation, as a supplier.
-- @module crux.cli.commands.reject
return require "crux.cli.decide" "reject"
