# Runs at install time: man pages and shell completions, written by the tool from the table that --help prints.
set(root "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}")

function(lode_write_to file)
    execute_process(COMMAND ${lode_tool} ${ARGN} OUTPUT_FILE ${file} COMMAND_ERROR_IS_FATAL ANY)
    message(STATUS "Installing: ${file}")
endfunction()

file(MAKE_DIRECTORY ${root}/${lode_man} ${root}/${lode_data}/bash-completion/completions
     ${root}/${lode_data}/zsh/site-functions ${root}/${lode_data}/fish/vendor_completions.d)
execute_process(COMMAND ${lode_tool} help --man ${root}/${lode_man} COMMAND_ERROR_IS_FATAL ANY)
message(STATUS "Installing: ${root}/${lode_man}")
lode_write_to(${root}/${lode_data}/bash-completion/completions/lode help --completion bash)
lode_write_to(${root}/${lode_data}/zsh/site-functions/_lode help --completion zsh)
lode_write_to(${root}/${lode_data}/fish/vendor_completions.d/lode.fish help --completion fish)
