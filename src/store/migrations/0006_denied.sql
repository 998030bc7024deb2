-- Why a machine was not let in.
ALTER TABLE approvals ADD COLUMN reason TEXT;
