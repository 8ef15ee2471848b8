-- The registry stores the end of what was trained on, as the model's card has it.
BEGIN;
SET LOCAL ROLE energy_owner;

COMMENT ON COLUMN models.training_to IS 'End of the last interval trained on (UTC)';

RESET ROLE;
INSERT INTO schema_migrations (version) VALUES ('0013_training_to');
COMMIT;
