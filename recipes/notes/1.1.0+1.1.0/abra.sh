export APP_CONF_VERSION=v1
export DB_BACKUP_VERSION=v1

# A database shell: abra app cmd YOURAPPDOMAIN db db_shell
db_shell() {
  mariadb notes
}
