-- The operator's word on what clients see: withdraw our wheels, yank a release, quarantine a project.

-- withdraw: our wheels that were published before leave the pages. yank: every file of the release is yanked (PEP 592). quarantine: the
-- project offers no files (PEP 792). Clients see the reason. The names of tables that pages are made of are in index/contents.sql.
CREATE TYPE page_word AS ENUM ('withdraw', 'yank', 'quarantine');
CREATE TABLE page_instruction (
    project  text NOT NULL,
    version  text NOT NULL DEFAULT '',
    word     page_word NOT NULL,
    reason   text NOT NULL,
    given_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT one_word_each PRIMARY KEY (project, version, word),
    CONSTRAINT quarantine_is_of_projects CHECK (word <> 'quarantine' OR version = '')
);
COMMENT ON COLUMN page_instruction.version IS 'canonical version; the empty string means every release of the project';
