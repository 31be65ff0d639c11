/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Planted bugs: what the tests must catch. Compiled in only with POMAI_MUTANTS (the library of tests/mutants), where a
 * test program chooses at most one before the database is opened. Elsewhere PM_MUTANT is a constant false, and nothing
 * is left of them. The table is append-only; `./dev soak mutants` iterates over it.
 *
 * X(name, who must catch it, what the bug is). Who: directories of tests/, or <directory>.<program> in them, or one
 * test of a program that takes long, <directory>.<program>:<test>, tried in order until one fails; `threads` is the
 * model's threads under ThreadSanitizer; `hang` says that a hang is a symptom.
 */
#ifndef PM_BASE_MUTANT_H
#define PM_BASE_MUTANT_H

#include <stdbool.h>

#define PM_MUTANT_TABLE(X)                                                                                             \
    /* durability */                                                                                                   \
    X(ACK_BEFORE_SYNC, "power sim", "a commit is acknowledged as synced, the log was only written")                    \
    X(LOG_HEADER_NOT_SYNCED, "power sim", "a log file gets its name before its header is synced")                      \
    X(LOG_NAME_NOT_SYNCED, "power sim", "the directory is not synced after a log file was renamed")                    \
    X(MANIFEST_NOT_SYNCED, "power sim", "MANIFEST and CURRENT get their names before they are synced")                 \
    X(MANIFEST_NAME_NOT_SYNCED, "power", "the directory is not synced between MANIFEST and CURRENT")                   \
    X(CURRENT_NAME_NOT_SYNCED, "power sim", "the directory is not synced after CURRENT was renamed")                   \
    X(NEW_DIRS_NOT_SYNCED, "power sim", "the names of a new database's directories are not synced")                    \
    X(NEW_DATABASE_NOT_SYNCED, "power sim", "the name of a new database is not synced")                                \
    X(MARK_NOT_SYNCED, "scenario.test_orders:test_power_after_strict_mark power sim",                                  \
      "the WATERMARK is written, not synced")                                                                          \
    X(SUCCESSOR_FIRST, "scenario.test_orders:test_power_after_new_log sim power",                                      \
      "a log file is begun before all of the one before it is synced")                                                 \
    X(SYNC_TRIED_AGAIN, "scenario.test_faults fault", "a failed sync is tried again, and the second one believed")     \
    X(GROUP_NOT_SYNCED, "scenario.test_faults:groups_are_synced_in_time sim",                                          \
      "what was written at level `group` is not synced when it is due")                                                \
    X(SYNC_RETURNS_EARLY, "sim power", "pomai_sync returns before the sync")                                           \
    X(CLOSE_NOT_SYNCED, "sim power", "closing does not sync what was acknowledged at level `os`")                      \
    X(WITNESS_LIES, "scenario.test_orders:test_power_after_unsynced power sim",                                        \
      "a record's header calls durable what is not synced yet")                                                        \
    X(RECOVERED_NOT_REWRITTEN, "scenario.test_faults double",                                                          \
      "recovery syncs again, but does not write again, what the WATERMARK does not attest")                            \
    X(RECOVERED_NOT_SYNCED, "sim power double", "recovery does not sync what it read")                                 \
    X(RECOVERED_NAMES_NOT_SYNCED, "scenario.test_faults double", "recovery does not sync the directory of a log")      \
    X(RECOVERED_CURRENT_NOT_SYNCED, "scenario.test_faults double", "opening does not sync the directory of CURRENT")   \
    X(ABORT_NOT_SYNCED, "sim power double", "recovery does not sync its ABORT records")                                \
    /* installing files */                                                                                             \
    X(CURRENT_FIRST, "crash power", "CURRENT names a MANIFEST before there is one")                                    \
    X(CURRENT_IN_PLACE, "fault power", "CURRENT is overwritten, not replaced")                                         \
    X(OLD_MANIFEST_FIRST, "crash power", "the old MANIFEST is removed before CURRENT names the new one")               \
    X(LEFTOVER_BLOCKS, "scenario.test_machine:test_shorter_edit",                                                      \
      "the temporary file of an interrupted edit makes the next one fail")                                             \
    X(LEFTOVER_REUSED, "scenario.test_machine:test_shorter_edit",                                                      \
      "the temporary file of an interrupted edit is written over")                                                     \
    X(ENOSPC_IGNORED, "scenario.test_faults:every_call_fails fault",                                                   \
      "a disk that is full when a log file is made counts as success")                                                 \
    X(PRED_LENGTH_WRONG, "model", "a file header states the predecessor's capacity as its length")                     \
    /* reading */                                                                                                      \
    X(EIO_IS_THE_END, "double fault", "a read error is taken for the end of the log")                                  \
    X(LENGTH_TRUSTED, "unit.test_wal corrupt", "a record's length is used before its checksum is verified")            \
    X(SALT_IS_CONSTANT, "unit.test_wal corrupt", "all log files have the same salt")                                   \
    X(PRED_NOT_CHECKED, "unit.test_wal corrupt", "a file's header is not compared with the file before it")            \
    X(STATED_LENGTH_IGNORED, "crash power",                                                                            \
      "what lies behind the length that the successor states is read as records")                                      \
    X(WITNESS_IGNORED, "unit.test_wal corrupt", "later headers that call a damaged record durable are not looked for") \
    X(CHAIN_NOT_COMPARED, "unit.test_wal corrupt", "the chain is not compared with the WATERMARK's")                   \
    X(MARK_SKIPPED, "corrupt scenario.test_damage:test_every_byte_flipped",                                            \
      "the WATERMARK is not written when a log falls idle or is closed")                                               \
    X(MARK_SAME_SLOT, "unit.test_wal power", "the WATERMARK always overwrites the same slot")                          \
    /* recovery */                                                                                                     \
    X(APPEND_AFTER_TORN_TAIL, "scenario.test_damage sim", "after a torn tail a writer goes on in the old file")        \
    X(QUARANTINE_FORGOTTEN, "crash sim", "a torn tail is dropped without a copy")                                      \
    X(MISSING_PART_COUNTS, "crash sim", "recovery shows a batch of which a part is missing")                           \
    X(PARTS_COUNTED_TWICE, "model crash", "recovery counts every part of a batch twice")                               \
    X(ABORT_IGNORED, "crash sim", "replay shows batches that were aborted")                                            \
    X(ABORT_NOT_WRITTEN, "crash sim", "recovery leaves an incomplete batch without ABORT records")                     \
    X(ABORT_NOT_OWED, "scenario.test_machine fault", "a running shard writes no ABORT for a refused batch")            \
    X(REPLAYED_TWICE, "model crash", "replay applies a record again after the last")                                   \
    X(DELETE_NOT_REPLAYED, "model crash", "replay passes over deletes")                                                \
    X(BATCH_IDS_REUSED, "crash sim", "the open counter stays, so batch ids are used again")                            \
    X(NEXT_ID_RESTARTS, "model crash", "after a reopen assigned ids begin at 0 again")                                 \
    X(NEXT_ID_IS_LARGEST, "model crash",                                                                               \
      "after a reopen the next assigned id is the largest there is, not the one after")                                \
    X(COLLECTION_ID_REUSED, "model crash", "a new collection gets the id of a dropped one, and its rows")              \
    X(SHARD_MAP_MOVES, "model crash", "after a reopen ids are routed over one shard less")                             \
    /* batches and shards */                                                                                           \
    X(SHOWN_UNDECIDED, "crash sim", "a part of a batch is shown before the batch is decided")                          \
    X(VISIBLE_FIRST, "threads", "the visible LSN is raised before the record is applied")                              \
    X(REFUSED_SHOWN, "scenario.test_faults:every_call_fails fault",                                                    \
      "the parts of a refused batch are shown all the same")                                                           \
    X(STOP_FORGOTTEN, "fault scenario.test_faults:a_failed_sync_is_not_believed_later hang",                           \
      "writes go on after a log failed")                                                                               \
    X(REFUSED_KEEPS_CREDIT, "scenario.test_faults:every_call_fails fault hang",                                        \
      "a refused part does not give its mailbox slot back")                                                            \
    X(CREDITS_KEPT, "model hang", "a batch that found one mailbox full keeps its slots in the others")                 \
    X(ROOM_NOT_TOLD, "model hang", "who waits for room in a mailbox is not woken")                                     \
    X(WAITER_NOT_NOTED, "model hang", "a caller sleeps on its batch without saying so")                                \
    X(SLEEPER_NOT_WOKEN, "model hang", "a wake adds to the word and forgets the sleeper")                              \
    X(WAKE_NOT_COMPARED, "model hang", "a task sleeps without having compared its wake word")                          \
    X(JOB_LEFT_ALONE, "model hang", "a helper leaves a job that nobody was told of")                                   \
    X(LEAVE_WAKES_NOBODY, "scenario.test_orders:test_put_side_by_side sim hang",                                       \
      "a helper leaves the shard without looking what came meanwhile")                                                 \
    X(BATCH_FREED_EARLY, "model hang", "a batch has one holder too few")                                               \
    /* memtable and collections */                                                                                     \
    X(OLD_VERSION_STAYS, "unit.test_memtable model", "an upsert does not end the version before")                      \
    X(ENDS_ONE_LATE, "unit.test_memtable model", "an upsert ends the version before one LSN too late")                 \
    X(DELETES_ONE_EARLY, "unit.test_memtable model", "a delete ends a version one LSN too early")                      \
    X(MAP_GROWTH_DROPS, "model", "the id map loses its last slot when it grows")                                       \
    X(RANGE_END_MISSED, "unit.test_memtable model", "the last id of a fresh range is not found")                       \
    X(RANGES_OVERLAP, "model", "a range that begins with the largest id counts as fresh")                              \
    X(ID_TAG_ONLY, "model", "ids with the same eight bits of hash are taken for the same")                             \
    X(GET_SEES_AHEAD, "unit.test_memtable model", "a get returns versions above its LSN")                              \
    X(SEARCH_SEES_AHEAD, "model", "a search sees chunks above its LSN")                                                \
    X(DOCUMENTS_SWAPPED, "model", "the documents of two rows change places")                                           \
    X(REPEATS_ACCEPTED, "model", "an id may be in a batch twice")                                                      \
    X(GIVEN_IDS_NOT_NOTED, "model", "assigned ids meet ids that were given")                                           \
    /* memory order: only ThreadSanitizer sees these on x86 */                                                         \
    X(VISIBLE_RELAXED, "threads", "the visible LSN is stored relaxed")                                                 \
    X(COUNT_RELAXED, "threads", "the count of a chunk list is stored relaxed")                                         \
    X(SLOT_RELAXED, "threads", "a slot of the id map is stored relaxed")                                               \
    X(MAP_RELAXED, "threads", "a grown id map is published relaxed")                                                   \
    X(CELL_RELAXED, "threads", "a mailbox cell's sequence is stored relaxed")                                          \
    X(DONE_RELAXED, "threads", "a job's DONE is stored relaxed")                                                       \
    X(OWNER_RELAXED, "threads", "the role of the actor is laid down relaxed")                                          \
    X(POOL_RELAXED, "threads", "a batch goes back to the pool relaxed")                                                \
    X(TOUCH_RELAXED, "threads", "memory to be touched ahead is handed over relaxed")                                   \
    /* resources */                                                                                                    \
    X(LOCK_IS_SHARED, "scenario.test_processes", "a writer locks the database like a reader")                          \
    X(FD_LEAKED, "scenario.test_faults:every_call_fails fault", "a log file that could not be made stays open")        \
    X(OPEN_LEAKS, "scenario.test_faults:failed_opens_leak_nothing fault", "opening leaks a path")                      \
    X(FAILED_DROP_FORGOTTEN, "scenario.test_machine sim", "a collection takes writes after its drop failed half-way")  \
    /* retiring */                                                                                                     \
    X(FLUSHED_NOT_STORED, "unit.test_manifest:what_was_written_reads_back",                                            \
      "the manifest does not say how far a collection is flushed")                                                     \
    X(FEATURES_NOT_SAID, "unit.test_manifest:what_was_written_reads_back",                                             \
      "the manifest does not say which features a reader must know")                                                   \
    X(PRED_FROM_MANIFEST_NOT_CHECKED, "unit.test_wal",                                                                 \
      "the first log file is not compared with the end of the log that the manifest states")                           \
    X(RETIRE_NEWEST_FIRST, "unit.test_wal", "log files are retired newest first")                                      \
    /* segments */                                                                                                     \
    X(SEGMENT_NOT_SYNCED, "unit.test_segment", "a segment counts as written before its files are synced")              \
    X(SEGMENT_NAMES_NOT_SYNCED, "unit.test_segment", "the names of a new segment are not synced")                      \
    X(LIVE_NOT_SYNCED, "unit.test_segment", "a new live-<g> is written, not synced")                                   \
    X(LIVE_UPTO_IGNORED, "unit.test_segment", "a live-<g> holds ends that replay will bring again")                    \
    X(BLOCK_CRC_SKIPPED, "unit.test_segment:test_flipped_bytes corrupt",                                               \
      "a block of a segment is used without its checksum")                                                             \
    X(BLOOM_FORGETS, "unit.test_segment", "the bloom filter of a segment misses some ids")                             \
    /* views */                                                                                                        \
    X(READERS_NOT_WAITED_FOR, "sim model", "what readers hold is freed while they are inside")                         \
    X(VIEW_NOT_RECHECKED, "scenario.test_orders sim model",                                                            \
      "a reader does not look again whether the view changed while it loaded LSNs")                                    \
    X(CLOCK_GOES_BACK, "sim scenario.test_room", "reads go by a wall clock that may go back")                          \
    X(CARRY_FORGETS, "sim model", "an end that is stored while its row moves is not stored where it goes")             \
    X(CARRY_ONE_FAR, "scenario.test_machine:test_delete_while_moving sim",                                             \
      "an end is carried to the first new place of its row only")                                                      \
    X(SEGMENTS_NOT_ENDED, "scenario.test_lives sim model", "versions in segments are not ended by newer ones")         \
    X(FLUSHED_REPLAYED, "sim crash", "records whose rows are in segments are replayed all the same")                   \
    /* flush, retire, compact */                                                                                       \
    X(SEGMENT_DIRS_NOT_SYNCED, "power sim", "the directories above a segment are not synced")                          \
    X(PINS_IGNORED, "scenario.test_lives sim model", "compaction drops what a snapshot shows")                         \
    X(NOT_READ_BACK, "scenario.test_room:test_disk_stores_something_else",                                             \
      "a segment is not read back before what it replaces goes")                                                       \
    X(LIVENESS_NOT_WRITTEN, "scenario.test_lives sim crash",                                                           \
      "a flush does not write down which older rows have ended")                                                       \
    X(FLUSH_NOT_SYNCED, "power sim", "a flush does not sync the logs before the manifest says how far it went")        \
    X(RETIRED_TOO_EARLY, "sim crash", "log files go though rows in them are in no segment")                            \
    X(RETIRED_BEFORE_NAMED, "sim crash", "log files go before the manifest begins behind them")                        \
    X(RESOLVED_NOT_RAISED, "sim crash", "the manifest does not say which batches are known to be whole")               \
    X(DAMAGE_NOT_AVOIDED, "scenario.test_machine", "a segment found damaged by a merge is chosen again and again")     \
    X(WRITTEN_TWICE, "scenario.test_lives:test_memory_and_segments_in_one_pass",                                       \
      "what is in memory becomes a segment before it is merged with others")                                           \
    X(MERGED_SHOWN_TWICE, "scenario.test_lives sim model",                                                             \
      "segments that a flush merged are shown beside what it wrote")                                                   \
    X(MERGED_BARE, "scenario.test_graph:merged_rows_keep_their_graph", "a flush merges segments that have graphs")     \
    X(MERGED_TOO_MUCH, "scenario.test_lives:test_merges_of_a_flush", "a flush merges segments however large they are") \
    X(MERGED_UNASKED, "scenario.test_lives:test_merges_of_a_flush",                                                    \
      "a flush merges segments of collections that nobody asked for")                                                  \
    X(MERGED_NOT_FORWARDED, "sim model",                                                                               \
      "an end that is stored while a flush merges its row is not stored where it goes")                                \
    X(MERGED_STAY_COUNTED, "scenario.test_orders:test_counts",                                                         \
      "expired rows that a flush leaves out of what it merges are not taken from the count")                           \
    X(DAMAGED_TAKEN, "scenario.test_lives:test_compaction_around_damage",                                              \
      "a flush that met damage writes the rows that it took before, too")                                              \
    X(NOT_FLUSHED_ALONE, "scenario.test_room", "rows that there is no room to merge are not flushed alone")            \
    X(MERGED_WITHOUT_ENDS, "scenario.test_lives sim", "compaction does not write down which of its rows have ended")   \
    /* looking for damage, and what is left */                                                                         \
    X(SCRUB_BELIEVED, "unit.test_segment:test_reread", "a block that the scrub found damaged still counts as checked") \
    X(SALVAGE_OLDEST, "scenario.test_salvage", "salvage takes the oldest version of an id")                            \
    X(SALVAGE_ENDS_IGNORED, "scenario.test_salvage", "salvage copies rows that were deleted")                          \
    X(SALVAGE_IN_SILENCE, "scenario.test_salvage", "salvage does not tell of rows whose vectors are lost")             \
    X(VERIFY_VERSIONS_SKIPPED, "scenario.test_verify", "verify does not look for two living versions of an id")        \
    X(VERIFY_LSNS_SKIPPED, "scenario.test_verify", "verify does not compare LSNs in segments with the catalogue")      \
    /* what flush, retirement and compaction rest on */                                                                \
    X(VIEW_BEFORE_ENDS, "scenario.test_orders sim",                                                                    \
      "a view is published before the ends of its rows are carried over")                                              \
    X(CARRY_MISSES_ROW, "sim", "the map of where rows went forgets one row")                                           \
    X(SOURCES_REMOVED_FIRST, "scenario.test_lives:test_interruptions power sim",                                       \
      "compaction removes segments before the catalogue names the others")                                             \
    X(FORMER_LIVE_FIRST, "scenario.test_lives:test_interruptions power sim",                                           \
      "a flush removes a live-<g> before the catalogue names the next")                                                \
    X(RESOLVED_TOO_HIGH, "scenario.test_orders:test_flush_under_put sim power",                                        \
      "batches count as resolved while they are under way")                                                            \
    X(UNDECIDED_FLUSHED, "sim power", "a memtable counts as flushed up to records that are not decided")               \
    X(NEXT_ID_NOT_KEPT, "sim", "a flush does not write down which ids were assigned")                                  \
    X(CLOCK_NOT_KEPT, "scenario.test_room:test_clock_of_the_catalogue sim",                                            \
      "the manifest does not say how late it was")                                                                     \
    X(BOUNDED_NOT_RAISED, "scenario.test_lives sim", "a flush drops rows that bounded reads still show")               \
    X(PIN_TIME_IGNORED, "scenario.test_orders sim", "what expired after a snapshot was taken is dropped under it")     \
    X(SEGMENTS_NOT_SORTED, "sim", "the catalogue lists segments as they were finished")                                \
    X(NEVER_BEHIND, "scenario.test_room:test_replaced_for_ever",                                                       \
      "compaction keeps its pace however many dead rows there are")                                                    \
    X(DROPPED_COUNTS, "scenario.test_orders:test_drop_under_put sim",                                                  \
      "what a dropped collection gets counts as unflushed for ever")                                                   \
    X(RECOVERED_NOT_FROZEN, "sim", "bounded reads do not see what was recovered")                                      \
    /* scans */                                                                                                        \
    X(SCAN_NOT_HELD, "scenario.test_scan", "a scan does not hold the memtables and segments that it goes through")     \
    X(SCAN_TIME_MOVES, "scenario.test_scan:test_expiry_under_a_scan",                                                  \
      "a scan takes the time by which rows have expired anew at each call")                                            \
    /* stopping */                                                                                                     \
    /* types of vectors */                                                                                             \
    X(RECORD_TYPE_IGNORED, "scenario.test_dtype:test_forged_types",                                                    \
      "replay takes a record of another type than its collection's")                                                   \
    X(CONVERTED_NOT_KEPT, "scenario.test_dtype sim", "rows that were converted are freed before they are in the log")  \
    /* codes */                                                                                                        \
    X(DERIVED_CRC_SKIPPED, "scenario.test_codes:flipped_bytes_are_found_when_they_are_used",                           \
      "the codes of a segment are used without their checksums")                                                       \
    X(DERIVED_OF_ANY_SEGMENT, "scenario.test_codes", "codes count as a segment's that are of other rows")              \
    X(CODES_NOT_JUDGED, "scenario.test_codes:rows_that_went_are_not_shown",                                            \
      "codes propose rows, and nobody asks whether the reader sees them")                                              \
    /* graphs */                                                                                                       \
    X(GRAPH_NODES_FOR_ROWS, "scenario.test_graph unit.test_graph", "a walk proposes numbers of nodes, not of rows")    \
    X(GRAPH_ORDER_TRUSTED, "unit.test_graph:an_order_has_each_row_once", "a graph may have two nodes of one row")      \
    X(GRAPH_NOT_JUDGED, "scenario.test_graph:rows_that_went_are_not_shown",                                            \
      "a walk proposes rows, and nobody asks whether the reader sees them")                                            \
    X(GRAPH_FEWER, "scenario.test_graph:few_rows_left_are_found",                                                      \
      "a walk that came to fewer than k rows is left at that")                                                         \
    X(GRAPH_TWICE, "scenario.test_graph:graphs_are_shared_out", "each run that comes into a segment walks its graph")  \
    X(GRAPH_VARIANT_IGNORED, "scenario.test_graph", "a graph is opened as variant 0, whatever its file says")          \
    X(MERGED_WITHOUT_DERIVED, "scenario.test_graph:merged_rows_keep_their_graph",                                      \
      "searches of merged rows wait for codes and a graph")                                                            \
    X(NEVER_QUIET, "scenario.test_build", "small segments stay what they are, however long nothing is written")        \
    X(VERDICT_ONLY_PROMISES, "scenario.test_watch:test_raised_is_not_found",                                           \
      "a verdict says what calibration promised when less was seen to be found")                                       \
    X(WATCH_FORGETS_FILTER, "scenario.test_watch:test_with_a_filter",                                                  \
      "what a search with a filter found is compared with what is nearest without")                                    \
    X(WATCH_ONLY_LOOKS, "scenario.test_watch:test_one_raises_both",                                                    \
      "searches get less than they ask for, and no effort is raised")                                                  \
    X(ENTRIES_NOT_TURNED, "unit.test_graph:alike_entries_have_their_own_distances",                                    \
      "entries that come after a walk has turned keep what hot codes say")                                             \
    X(WALK_NEVER_TURNS, "unit.test_graph:copies_are_found_as_promised",                                                \
      "a walk among rows that hot codes do not tell apart goes on by these")                                           \
    /* filters */                                                                                                      \
    X(FILTER_NOT_JUDGED, "scenario.test_filter_search:far_matches_are_found",                                          \
      "a walk proposes rows, and nobody asks whether they match")                                                      \
    X(CONDITION_NOT_JUDGED, "scenario.test_where:without_end",                                                         \
      "a write with a condition goes on whatever has become of the row")                                               \
    X(CONDITION_NOT_PENDING, "scenario.test_where:no_write_is_undone",                                                 \
      "a condition is judged without the records that are not applied yet")                                            \
    X(CONDITION_ROW_SHIFTED, "scenario.test_where:a_row_that_goes_on_matching_goes",                                   \
      "of a part from which rows were taken the wrong ones are kept")                                                  \
    X(UPDATE_EXPIRY_LOST, "scenario.test_where", "an updated row forgets when it expires")                             \
    X(TERMS_NOT_ENDED, "unit.test_filter:judging_can_be_ended", "nobody asks within a document whether it is over")    \
    X(WHERE_NOT_JUDGED_AGAIN, "scenario.test_where:a_row_that_stops_matching_stays",                                   \
      "a row that was replaced is deleted or updated without a look at its new document")                              \
    X(SCAN_MATCH_STALE, "scenario.test_where", "a scan takes the bits of one piece of rows for the next")              \
    X(FILTER_FEWER, "scenario.test_filter_search:with_all",                                                            \
      "a filtered walk that came to fewer than k rows that match, or to too few, is left at that")                     \
    X(OPEN_NOT_JUDGED, "scenario.test_filter_search:with_columns",                                                     \
      "rows that columns cannot decide are taken for no match")                                                        \
    X(COLUMNS_SEE_ALL, "scenario.test_filter_search:with_columns",                                                     \
      "what columns say of a row counts, whoever ended it")                                                            \
    X(CLUSTER_FORGOTTEN, "scenario.test_cluster", "rows of one value are not brought together in a segment")           \
    X(CLUSTER_NOT_CARRIED, "scenario.test_cluster sim",                                                                \
      "ends that are stored while rows are written in another order go to where the rows would have been")             \
    /* formats */                                                                                                      \
    X(LATER_RECORD_IS_TORN, "scenario.test_golden:test_formats_of_the_future_are_refused",                             \
      "a record that a later build wrote is taken for a torn tail")                                                    \
    /* exact search by codes */                                                                                        \
    X(WALK_LEAVES_CODES, "unit.test_graph:nothing_near_is_left_behind",                                                \
      "a walk ends when there is nothing to walk from, though codes are under way")                                    \
    X(GAPS_NOT_MINDED, "scenario.test_graph:queries_between_tight_groups_get_what_they_ask_for",                       \
      "a query as far from its nearest as no row is, but nearer than some, is taken to be answered")                   \
    X(OUTLYING_AS_OTHERS, "scenario.test_graph:outlying_queries_get_what_they_ask_for",                                \
      "a query far from its nearest whose walk ends in a crowd is taken to be answered")                               \
    X(COPIES_LEAD_IN, "scenario.test_graph:near_copies_promise_no_more",                                               \
      "efforts are calibrated by rows whose near copies lead walks to them")                                           \
    X(FEW_DIMS_AS_OTHERS, "scenario.test_graph:queries_off_a_surface_get_what_they_ask_for",                           \
      "rows of few dimensions get the least slack that is enough for queries among them")                              \
    X(PROJECTED_COARSELY, "unit.test_graph:rows_of_few_directions_are_linked",                                         \
      "codes that rows are linked by do not tell near ones apart")                                                     \
    X(PROJECTED_AT_ANY_LOSS, "unit.test_graph:what_leaves_little_out_is_projected",                                    \
      "rows are projected to one line of directions, whatever these leave out")                                        \
    X(ENTRIES_BY_OTHERS, "unit.test_graph:every_row_is_reached_from_the_first_entry",                                  \
      "entries are chosen by other codes than those that rows are linked by")                                          \
    X(TRUTH_BY_CODES, "scenario.test_graph:rows_of_two_scales_get_their_recall",                                       \
      "efforts are calibrated by the neighbours that codes tell, not those of the rows")                               \
    X(WALKS_AT_ANY_COST, "scenario.test_graph:costly_walks_are_left_to_codes",                                         \
      "a graph is walked through where a look at all codes takes less")                                                \
    X(STOP_BY_OWN_K, "scenario.test_graph:any_k_gets_its_recall",                                                      \
      "a walk for a k between those that were calibrated stops by its own k-th, with the slack of the next")           \
    X(NEVER_IN_DOUBT, "scenario.test_graph:queries_unlike_all_rows_are_answered",                                      \
      "a walk for a query unlike all rows is taken to have found what it finds for others")                            \
    X(EFFORT_OF_ROWS, "scenario.test_codes:queries_unlike_all_rows_are_answered",                                      \
      "codes look for what is near a query with the effort that was enough for rows")                                  \
    X(FAR_MATCHES_MISSED, "scenario.test_filter_search:the_nearest_of_many_multiples_is_found",                        \
      "who is far from all that match has no more rows ranked again than who is among them")                           \
    X(FEW_TELL_ENOUGH, "scenario.test_filter_search:the_nearest_of_many_multiples_is_found",                           \
      "whether codes tell matches apart is judged by no more of the nearest than are asked for")                       \
    X(LISTED_ROWS_LOST, "scenario.test_filter_search:listed_rows_are_compared_by_codes",                               \
      "an exact search by codes looks at whole blocks of listed rows only")                                            \
    X(SURE_MARGIN, "unit.test_quant:the_worst_rounding_is_allowed_for",                                                \
      "a code is taken to be wrong by three quarters of what it may be wrong by")                                      \
    X(LIMIT_MET_TWICE, "unit.test_flat:answers_equal_a_naive_sort",                                                    \
      "distances that threads share are counted again when their hits are merged")                                     \
    X(LIMIT_DENORMAL, "unit.test_flat:small_bounds_are_never_too_small",                                               \
      "a distance that threads share may be too small for who takes denormals for zero")                               \
    X(SURE_ROWS_NOT_COUNTED, "scenario.test_codes",                                                                    \
      "an exact search counts the rows that it compared, not those it answers for")                                    \
    X(LIST_CUT_IS_WHOLE, "scenario.test_filter_search:what_is_cut_short_is_not_whole",                                 \
      "of few rows those count as all matches that were looked at before it was over")                                 \
    X(COLUMNS_CUT_ARE_WHOLE, "scenario.test_filter_search:what_is_cut_short_is_not_whole",                             \
      "bits of rows count though it was over before columns had told all of them")                                     \
    X(PICK_JUDGED_AS_WALK, "scenario.test_filter_search:the_nearest_of_many_multiples_is_found",                       \
      "a look at all that match, after a walk that met too few, is doubted no more than a walk")                       \
    X(SCRAMBLED_SWAPPED, "scenario.test_filter_search:the_nearest_of_many_multiples_is_found",                         \
      "a walk among matches is doubted as a look at all of them is, and the other way round")                          \
    X(WATCH_ASKS_ALONE, "scenario.test_watch:test_one_raises_both",                                                    \
      "searches with a filter get no more effort, though those without have it raised")                                \
    X(WATCH_KNOWS_ALONE, "scenario.test_watch:test_raised_is_not_found",                                               \
      "what is known of searches without a filter says nothing of those with one")                                     \
    X(WATCH_TAKES_FIRST, "scenario.test_watch:test_both_have_their_turn",                                              \
      "of the searches that are there the first is always looked at")                                                  \
    X(RAISED_IS_ENOUGH, "scenario.test_watch:test_raised_is_not_found",                                                \
      "once effort is raised, a verdict promises more than before, though nobody has looked yet")                      \
    X(COLUMNS_IN_ANY_ORDER, "unit.test_columns:rows_of_a_value_ascend",                                                \
      "columns are used whose rows of a value are in any order, some of them twice")                                   \
    X(SHOWN_APART, "scenario.test_orders:test_several", "each shard shows its part of a batch for itself")             \
    X(FLIP_IN_PART, "scenario.test_orders:test_behind_held",                                                           \
      "a batch is shown whose part in another shard is behind one that is not")                                        \
    X(FLIP_LOOKS_ONCE, "scenario.test_orders:test_two_at_once hang",                                                   \
      "who has shown batches does not look whether others asked meanwhile")                                            \
    X(CUT_NOT_RECHECKED, "scenario.test_orders:test_several",                                                          \
      "a reader does not look whether a batch was shown while it loaded what shards show")                             \
    X(REFUSED_NEVER_READY, "scenario.test_orders:test_refused_behind_held hang",                                       \
      "a batch that was refused is to be whole before what is behind it is shown")                                     \
    X(FLIP_LEFT_TO_NOBODY, "scenario.test_orders:test_shown_for_long hang",                                            \
      "what is left to be shown is left to an actor that has ended")                                                   \
    X(CLAIMED_APART, "scenario.test_orders:test_same_rows",                                                            \
      "batches claim their places in the mailboxes in any order")                                                      \
    X(MOMENTS_DIFFER, "scenario.test_orders:test_moments",                                                             \
      "a reader has of each shard what it shows at a moment of its own")                                               \
    X(FROZEN_NOT_RECHECKED, "scenario.test_orders:test_several",                                                       \
      "a bounded read does not look whether more was frozen while it loaded what is")                                  \
    X(WATCH_TAKES_ITS_TIME, "scenario.test_watch:test_raises_soon",                                                    \
      "the watch takes as long to find a shortage as to go on finding none")                                           \
    X(COUNT_SEES_AHEAD, "scenario.test_orders:test_counts", "a count has what is applied and not shown yet")           \
    X(EXPIRED_STAY_COUNTED, "scenario.test_orders:test_counts",                                                        \
      "rows that a flush or a merge leaves behind because they have expired are not taken from the count")             \
    X(COPY_NOT_WRITTEN, "scenario.test_salvage:test_catalogue", "the copy of the catalogue is not written")

enum pm_mutant {
    PM_MUTANT_NONE,
#define PM_MUTANT_X(name, kinds, what) PM_MUTANT_##name,
    PM_MUTANT_TABLE(PM_MUTANT_X)
#undef PM_MUTANT_X
        PM_MUTANT_COUNT
};

#ifdef POMAI_MUTANTS
extern int pm_mutant;
#define PM_MUTANT(name)              (pm_mutant == PM_MUTANT_##name)
#define PM_MUTANT_ORDER(name, order) (PM_MUTANT(name) ? memory_order_relaxed : (order))
#else
#define PM_MUTANT(name)              false
#define PM_MUTANT_ORDER(name, order) (order)
#endif

#endif
