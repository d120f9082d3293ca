-- name: instruct(project, version, instruction, reason)!
-- The operator's word on a project or release, in place of an earlier one.
INSERT INTO operator_instruction (project, version, instruction, reason)
VALUES (:project, :version, :instruction::instruction, :reason)
ON CONFLICT ON CONSTRAINT one_instruction_each DO UPDATE
SET instruction = excluded.instruction, reason = excluded.reason, given_at = now()
WHERE (operator_instruction.instruction, operator_instruction.reason) IS DISTINCT FROM (excluded.instruction, excluded.reason);

-- name: take_back_instruction(project, version, instruction)!
-- The operator says nothing any more.
DELETE FROM operator_instruction WHERE project = :project AND version = :version AND instruction = :instruction::instruction;

-- name: opt_out(project, reason)!
-- A maintainer asked that their project is not built.
INSERT INTO opt_out (project, reason) VALUES (:project, :reason)
ON CONFLICT (project) DO UPDATE SET reason = excluded.reason WHERE opt_out.reason <> excluded.reason;

-- name: take_back_opt_out(project)!
-- The maintainer changed their mind.
DELETE FROM opt_out WHERE project = :project;
