/* Every command, one line per file. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "cli/command.h"

extern const cli_command cmd_adapt;
extern const cli_command cmd_ask;
extern const cli_command cmd_bench;
extern const cli_command cmd_compare;
extern const cli_command cmd_doctor;
extern const cli_command cmd_dp;
extern const cli_command cmd_evaluate;
extern const cli_command cmd_help;
extern const cli_command cmd_inspect;
extern const cli_command cmd_new;
extern const cli_command cmd_predict;
extern const cli_command cmd_quantize;
extern const cli_command cmd_report;
extern const cli_command cmd_run;
extern const cli_command cmd_simulate;
extern const cli_command cmd_chart;
extern const cli_command cmd_sparsify;
extern const cli_command cmd_tokenize;
extern const cli_command cmd_train;
extern const cli_command cmd_tune;
extern const cli_command cmd_version;

#endif
